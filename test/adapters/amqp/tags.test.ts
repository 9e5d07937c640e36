import t from 'tap';
import { DeliveryTags } from '../../../src/adapters/amqp/v091/tags.ts';
import { Prng } from '../../../src/testing/prng.ts';

const SEED = Number(process.env['SEED'] ?? 20263);

t.test(`delivery tags behave as a sorted map (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED);
  const tags = new DeliveryTags();
  const model = new Map<number, string>();
  const ids = [0, 0, 0, 0];
  let next = 1;
  const settleUpTo = (last: number) => {
    const got: string[] = [];
    const count = tags.takeUpTo(last, (slot, first, until) => {
      for (let id = first; id <= until; id++) got.push(`${slot}:${id}`);
    });
    const expected: string[] = [];
    for (const [tag, entry] of model) {
      if (tag > last) continue;
      expected.push(entry);
      model.delete(tag);
    }
    t.equal(count, expected.length);
    t.strictSame(got, expected, `everything up to ${last}`);
  };
  for (let step = 0; step < 60_000; step++) {
    const dice = prng.below(100);
    if (dice < 50) {
      const slot = 1 + prng.below(3);
      const id = ++(ids as [number, number, number, number])[slot as 1];
      const tag = tags.add(slot, id);
      if (tag !== next) t.fail(`tag ${tag} instead of ${next}`);
      model.set(next++, `${slot}:${id}`);
    } else if (dice < 55) {
      if (tags.skip() !== next++) t.fail('a skipped tag is out of order');
    } else if (dice < 98) {
      // Near the newest, so that some are left behind for long.
      const tag = Math.max(1, next - prng.below(60));
      const entry = model.get(tag);
      if (tags.has(tag) !== (entry !== undefined)) t.fail(`has ${tag}`);
      if (tags.take(tag) !== (entry !== undefined)) t.fail(`take ${tag}`);
      if (entry !== undefined && `${tags.slot}:${tags.id}` !== entry) t.fail(`tag ${tag} is ${entry}`);
      model.delete(tag);
    } else if (dice === 98 && step % 10 === 0) {
      settleUpTo(next - prng.below(400));
    }
    if (tags.outstanding !== model.size) t.fail(`${tags.outstanding} outstanding, not ${model.size}`);
  }
  settleUpTo(Number.MAX_SAFE_INTEGER);
  t.equal(tags.outstanding, 0);
  t.end();
});

t.test('one forgotten delivery does not hold the memory of a million others', (t) => {
  const tags = new DeliveryTags();
  tags.add(1, 1);
  const before = process.memoryUsage().arrayBuffers;
  for (let id = 2; id < 1_000_000; id++) tags.take(tags.add(1, id));
  t.ok(process.memoryUsage().arrayBuffers - before < 1_000_000, 'the ring stays small');
  t.ok(tags.take(1));
  t.equal(tags.id, 1);
  t.end();
});
