import t from 'tap';
import { CONFIRM, type Message, type MessageOrigin } from '../../../src/core/index.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { durably, key, newDisk } from '../fixture.ts';
import { append, createTopic, detail, type Lab, lab, readAll, reopened, SMALL } from './support.ts';

function numberedMessage(origin: MessageOrigin, sequence: number, body = `${sequence}`, partition = 0): Message {
  return Object.assign(durably(body), { origin, sequence, partition });
}

const open = (one: Lab, name?: string): Promise<MessageOrigin> =>
  one.clock.drive(one.broker.admin.topics.openOrigin('/', name));

/** A producer that answers the offset of what it sends. */
function sender(one: Lab) {
  const confirms: number[] = [];
  const producer = one.client.producer({ onConfirm: (upTo) => confirms.push(upTo) });
  const address = producer.address('', key('t'));
  const send = (message: Message): number => {
    producer.publish(address, message, CONFIRM);
    return producer.lastOffset;
  };
  return { send, confirms, producer, address };
}

t.test('a repeat is answered as success, with the offset of the first; a gap is refused', async (t) => {
  const one = await lab();
  await createTopic(one);
  const origin = await open(one);
  const { send, confirms } = sender(one);
  t.same(
    [0, 1, 2, 3].map((n) => send(numberedMessage(origin, n))),
    [0, 1, 2, 3],
  );
  t.equal(send(numberedMessage(origin, 2)), 2, 'while the first is on its way');
  t.same(confirms, []);
  await one.settle();
  t.equal(confirms.at(-1), 5, 'and confirmed with it');
  t.throws(() => send(numberedMessage(origin, 5)), { code: 'out-of-order', message: /sequence 5.*4 comes next/ });
  await append(one, ['from another']);
  t.equal(send(numberedMessage(origin, 4)), 5);
  t.equal(send(numberedMessage(origin, 3)), 3);
  t.equal(send(numberedMessage(origin, 4)), 5);
  await one.settle();
  t.equal(confirms.at(-1), 8);
  t.same((await readAll(one)).bodies, ['0', '1', '2', '3', 'from another', '4']);
  const again = await reopened(one);
  const after = sender(again);
  t.equal(after.send(numberedMessage(origin, 1)), 1, 'a restart forgets nothing');
  t.throws(() => after.send(numberedMessage(origin, 6)), { code: 'out-of-order' });
  t.equal(after.send(numberedMessage(origin, 5)), 6);
});

t.test('partitions are counted apart; what is longer ago than five stretches has no offset any more', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 2 });
  const origin = await open(one);
  const { send } = sender(one);
  t.equal(send(numberedMessage(origin, 0, 'x', 1)), 0);
  t.throws(() => send(numberedMessage(origin, 1, 'x', 0)), { code: 'out-of-order' });
  for (let n = 0; n < 7; n++) {
    send(numberedMessage(origin, n));
    await append(one, ['between']);
  }
  t.equal(send(numberedMessage(origin, 6)), 12);
  t.equal(send(numberedMessage(origin, 0)), -1, 'known, but not where');
  t.equal(detail(one).end, 14);
});

t.test('opening a name again fences the instance before; epochs and names last', async (t) => {
  const one = await lab();
  await createTopic(one);
  const old = await open(one, 'meter');
  const { send } = sender(one);
  send(numberedMessage(old, 0));
  const fresh = await open(one, 'meter');
  t.same(fresh, { id: old.id, epoch: 1 });
  t.throws(() => send(numberedMessage(old, 1)), { code: 'fenced' });
  t.throws(() => send(numberedMessage(fresh, 1)), { code: 'out-of-order' }, 'an epoch begins at 0');
  t.equal(send(numberedMessage(fresh, 0)), 1);
  await one.clock.drive(one.internals.checkpointer.run());
  const again = await reopened(one);
  t.same(again.broker.admin.topics.origins('/'), [{ name: 'meter', id: old.id, epoch: 1 }]);
  t.throws(() => sender(again).send(numberedMessage(old, 1)), { code: 'fenced' });
  t.same(await open(again, 'meter'), { id: old.id, epoch: 2 });
  await again.clock.drive(again.broker.admin.topics.deleteOrigin('/', 'meter'));
  t.not((await open(again, 'meter')).id, old.id);
  await t.rejects(again.clock.drive(again.broker.admin.topics.deleteOrigin('/', 'none')), { code: 'not-found' });
});

t.test('bad sequence numbers and names are refused, and nothing is appended', async (t) => {
  const one = await lab({ ...SMALL, originsPerVhostMax: 1 });
  await createTopic(one);
  const origin = await open(one, 'one');
  await t.rejects(open(one, 'two'), { code: 'limit-exceeded' });
  await t.rejects(open(one, 'x'.repeat(1000)), { code: 'invalid-argument' });
  const { send, producer } = sender(one);
  const bad = [
    ...[{ partition: -1 }, { origin: undefined }, { sequence: 0.5 }],
    ...[0, 1.5, 2 ** 40, Number.NaN].map((id) => ({ origin: { id, epoch: 0 } })),
    { origin: { ...origin, epoch: 7 } },
  ];
  for (const change of bad) {
    t.throws(() => send(Object.assign(numberedMessage(origin, 0), change)), { code: 'invalid-argument' });
  }
  const nowhere = producer.address('', key('no topic'));
  t.throws(() => producer.publish(nowhere, numberedMessage(origin, 0), 0), { code: 'invalid-argument' });
  const transaction = producer.transaction();
  t.throws(() => transaction.publish(producer.address('', key('t')), numberedMessage(origin, 0), 0), {
    code: 'invalid-argument',
  });
  t.equal(detail(one).end, 0);
});

t.test('crashes and resending: every message once, in order', async (t) => {
  for (let seed = 1; seed <= 25; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = newDisk(clock, { seed });
    let one = await lab(SMALL, disk, clock);
    await createTopic(one);
    const origins = [await open(one), await open(one, 'named')];
    /** By origin: confirmed for sure, and sent. */
    const sure = [0, 0];
    for (let life = 0; life < 4; life++) {
      for (const [n, origin] of origins.entries()) {
        let first = sure[n] as number;
        const producer = one.client.producer({
          onConfirm: (upTo) => {
            sure[n] = Math.max(sure[n] as number, first + upTo);
          },
        });
        const address = producer.address('', key('t'));
        // What was not confirmed is sent again, and some that was.
        first = Math.max(0, first - prng.below(3));
        for (let sequence = first; sequence < first + prng.between(5, 60); sequence++) {
          producer.publish(address, numberedMessage(origin, sequence, `${n}:${sequence}`), CONFIRM);
          if (prng.chance(0.2)) await one.clock.advance(prng.below(4));
          if (prng.chance(0.05)) void one.internals.checkpointer.run();
        }
      }
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      clock.clear();
      one = await lab(SMALL, disk, clock);
      const { bodies } = await readAll(one);
      for (const n of [0, 1]) {
        const mine = bodies.filter((body) => body.startsWith(`${n}:`)).map((body) => Number(body.slice(2)));
        if (mine.some((sequence, at) => sequence !== at)) t.fail(`seed ${seed}, life ${life}: ${mine}`);
        if (mine.length < (sure[n] as number)) t.fail(`seed ${seed}, life ${life}: ${mine.length} of ${sure[n]}`);
      }
    }
    await clock.drive(one.close());
  }
  t.pass('25 seeds');
});
