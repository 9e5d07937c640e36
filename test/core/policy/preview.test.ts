import { strict as assert } from 'node:assert';
import t from 'tap';
import type { Arguments, HubValue } from '../../../src/core/index.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { collect, connect, DURABLE, durably, type Fixture, key, start, TRANSIENT, text } from '../fixture.ts';

const drive = <T>(fixture: Fixture, promise: Promise<T>): Promise<T> => fixture.clock.drive(promise);

/** Fill a queue with messages of many sizes, ages and levels; some are handed out, some came back. */
async function fill(fixture: Fixture, prng: Prng, name: string): Promise<void> {
  const producer = connect(fixture).producer({});
  const address = producer.address('', key(name));
  for (let rounds = prng.below(5); rounds > 0; rounds--) {
    for (let n = prng.below(20); n > 0; n--) {
      const message = (prng.chance(0.7) ? durably : text)('x'.repeat(prng.below(500)));
      message.priority = prng.below(10);
      if (prng.chance(0.2)) message.expiresAtMs = fixture.clock.now() + prng.between(1, 20_000);
      producer.publish(address, message, 0);
    }
    await fixture.clock.advance(prng.below(5000));
  }
  const { subscription, bodies } = collect(connect(fixture), name, { credit: prng.below(8) });
  await fixture.settle();
  const taken = bodies.length;
  if (taken > 1 && prng.chance(0.5)) {
    subscription.setCredit(0);
    subscription.settle(prng.between(1, taken), taken, 'requeue');
  }
  if (prng.chance(0.5)) subscription.close();
  else subscription.setCredit(0);
  await fixture.settle();
}

function randomRules(prng: Prng): { [name: string]: HubValue } {
  const all: { [name: string]: HubValue } = {
    'max-length': prng.below(40),
    'max-length-bytes': prng.below(12_000),
    'message-ttl': prng.below(15_000),
    'dead-letter-exchange': prng.pick(['', 'amq.fanout']),
    overflow: prng.pick(['drop-head', 'drop-head', 'reject-publish']),
    'max-priority': prng.below(4),
    'ring-size': prng.between(1, 40),
    'group-buckets': 16,
  };
  return Object.fromEntries(Object.entries(all).filter(() => prng.chance(0.4)));
}

t.test('a dry run says what then happens', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  for (let run = 0; run < 60; run++) {
    const prng = new Prng(seed + run);
    const fixture = await start({ readAheadBytesMax: 4096, tailCacheBytesMax: 4096 });
    const { admin } = fixture.broker;
    const declared: Arguments = Object.fromEntries(
      Object.entries(randomRules(prng)).map(([name, value]) => [`x-${name}`, value]),
    );
    const settings = { ...(prng.chance(0.7) ? DURABLE : TRANSIENT), arguments: declared };
    await drive(fixture, admin.declareQueue('/', 'q', settings));
    if (prng.chance(0.5)) await drive(fixture, admin.policies.setQueueRules('/', 'q', randomRules(prng)));
    await fill(fixture, prng, 'q');
    const rules = randomRules(prng);
    const before = admin.queue('/', 'q');
    const what = JSON.stringify({ seed: seed + run, declared, live: before?.liveRules, rules });
    try {
      const preview = await drive(fixture, admin.policies.previewQueueRules('/', 'q', rules));
      assert.deepEqual(admin.queue('/', 'q'), before, 'a dry run changes nothing');
      await drive(fixture, admin.policies.setQueueRules('/', 'q', rules));
      // Without time passing, so that nothing more expires.
      for (let turns = 0; turns < 20; turns++) await fixture.clock.advance(0);
      const after = admin.queue('/', 'q');
      assert(before !== undefined && after !== undefined);
      const { overLength, overRing, expired } = preview;
      assert.equal(before.ready - after.ready, overLength + overRing + expired);
      const item = preview.items[0];
      const shown = Math.min(overLength + overRing, 10) + Math.min(expired, 10);
      assert.equal(item?.messages.length ?? 0, shown);
      const changed = JSON.stringify(before.rules) !== JSON.stringify(after.rules);
      if (item === undefined) {
        assert(!changed, 'rules changed that the dry run did not tell');
        continue;
      }
      const given = item.deadLetterExchange === undefined ? 'dropped' : 'deadLettered';
      const total = after[given] + (given === 'deadLettered' ? after.dropped - before.dropped : 0);
      assert.equal(total - before[given], overLength + overRing + expired);
      for (const { rule, after: value } of item.changes) assert.deepEqual(after.rules[rule], value);
    } catch (error) {
      t.fail(`${what}: ${(error as Error).message}`);
    }
  }
  t.pass(`seed ${seed}`);
});

t.test('of a policy: all its queues, in sums and one by one; bodies are looked at up to a limit', async (t) => {
  const fixture = await start({ previewBodiesMax: 300, listItemsMax: 2 });
  const { admin } = fixture.broker;
  for (const name of ['a1', 'a2', 'a3', 'b']) {
    await drive(fixture, admin.declareQueue('/', name, DURABLE));
    const producer = connect(fixture).producer({});
    for (let n = 0; n < 400; n++) producer.publish(producer.address('', key(name)), durably('x'), 0);
  }
  await fixture.clock.advance(5000);
  const policy = (definition: Arguments) => ({ pattern: '^a', priority: 0, definition });
  const short = await drive(fixture, admin.policies.previewSet('/', 'p', policy({ 'max-length': 100 })));
  t.match(short, { queues: 3, overLength: 900, expired: 0, exact: true, abandoned: 0 });
  t.match(short.items, [
    { queue: 'a1', ready: 400, overLength: 300, changes: [{ rule: 'max-length', before: undefined, after: 100 }] },
    { queue: 'a2' },
  ]);
  t.equal(short.items.length, 2);
  const brief = await drive(fixture, admin.policies.previewSet('/', 'p', policy({ 'message-ttl': 1000 })));
  t.match(brief, { queues: 3, exact: false });
  t.ok(brief.expired >= 300 && brief.expired <= 300 + 256, `${brief.expired} expired`);
  t.same(admin.policies.list('/'), []);
  await drive(fixture, admin.policies.set('/', 'p', policy({ 'max-length': 1000 })));
  t.match(await drive(fixture, admin.policies.previewRemove('/', 'p')), { queues: 3, overLength: 0, expired: 0 });
  await t.rejects(drive(fixture, admin.policies.previewRemove('/', 'none')), { code: 'not-found' });
  await t.rejects(drive(fixture, admin.policies.previewSet('/', 'p', policy({}))), { code: 'invalid-argument' });
});
