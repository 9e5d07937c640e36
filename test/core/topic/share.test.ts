import t from 'tap';
import type { Client, SettleOp, ShareSettings, SubscribeOptions, Subscription } from '../../../src/core/index.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { bodyOf, connect, DURABLE, newDisk } from '../fixture.ts';
import { append, createTopic, type Lab, lab, numbered, reopened, SMALL } from './support.ts';

interface Taker {
  readonly subscription: Subscription;
  /** Bodies by delivery, from 1. */
  readonly bodies: string[];
  readonly redeliveries: number[];
  ended: string | undefined;
}

function take(client: Client, options: Partial<SubscribeOptions> = {}, group = 'g'): Taker {
  const taker: Taker = { subscription: undefined as never, bodies: [], redeliveries: [], ended: undefined };
  const subscription = client.subscribe(
    't',
    { credit: 1000, share: { group, start: 'first' }, ...options },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          taker.bodies.push(bodyOf(batch.message));
          taker.redeliveries.push(batch.redeliveries);
        }
      },
      onEnd: (reason) => {
        taker.ended = reason;
      },
    },
  );
  return Object.assign(taker, { subscription });
}

const info = (one: Lab, name = 'g') =>
  one.broker.admin.topics.shareGroups('/', 't').find((group) => group.name === name);

t.test('each message goes to one consumer of the group; other groups and readers have them all too', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 3 });
  const bodies = numbered(60);
  for (const partition of [0, 1, 2]) await append(one, bodies.slice(partition * 20, partition * 20 + 20), partition);
  const takers = [
    take(one.client, { credit: 25 }),
    take(connect(one), { credit: 25 }),
    take(connect(one), { credit: 25 }),
  ];
  const alone = take(one.client, {}, 'alone');
  await one.settle();
  t.same(takers.flatMap((taker) => taker.bodies).sort(), [...bodies].sort());
  t.same([...alone.bodies].sort(), [...bodies].sort());
  t.match(info(one), { consumers: 3, partitions: [{ held: 20, start: 0, next: 20, lag: 20 }, {}, {}] });
  for (const { subscription, bodies: mine } of takers) subscription.settle(1, mine.length, 'complete');
  t.match(info(one), { partitions: [{ held: 0, start: 20, lag: 0 }, {}, {}] });
  await append(one, ['new'], 1);
  t.ok(takers.some((taker) => taker.bodies.includes('new')));
});

t.test(
  'what is released, not settled in time, or left behind comes back; what is rejected, or came back too often, does not',
  async (t) => {
    const one = await lab({ ...SMALL, shareLockMs: 1000, shareDeliveriesMax: 3 });
    await createTopic(one);
    await append(one, ['a', 'b', 'c', 'd']);
    const first = take(one.client, { credit: 4 });
    await one.settle();
    first.subscription.settle(1, 1, 'discard');
    first.subscription.settle(2, 2, 'requeue');
    first.subscription.settle(4, 4, 'complete');
    first.subscription.credit(1);
    await one.settle();
    t.same(first.bodies, ['a', 'b', 'c', 'd', 'b']);
    t.same(first.redeliveries, [0, 0, 0, 0, 1]);
    const second = take(connect(one));
    await one.clock.advance(1100);
    t.same(second.bodies, ['c', 'b'], 'their time was over');
    t.equal(first.subscription.settle(3, 3, 'complete'), 1, 'too late: taken note of, without effect');
    t.match(info(one), { partitions: [{ held: 2 }] });
    second.subscription.close();
    await one.settle();
    t.match(info(one), { consumers: 1, partitions: [{ held: 0, returned: 1, lag: 1 }] }, 'b was given up, c came back');
    const third = take(connect(one));
    await one.settle();
    t.same([third.bodies, third.redeliveries], [['c'], [2]]);
  },
);

t.test('counts and what is done survive restarts; the place of a new group is where it says', async (t) => {
  const one = await lab();
  await createTopic(one);
  await append(one, numbered(20));
  const taker = take(one.client, { credit: 10 });
  take(one.client, { credit: 1, share: { group: 'late', start: 'next' } });
  await one.settle();
  taker.subscription.settle(1, 3, 'complete');
  taker.subscription.settle(7, 7, 'complete');
  taker.subscription.settle(5, 5, 'requeue');
  await one.settle();
  for (const checkpoint of [false, true]) {
    if (checkpoint) await one.clock.drive(one.internals.checkpointer.run());
    const again = await reopened(one);
    const after = take(again.client);
    await again.settle();
    t.same(
      after.bodies.map((body) => Number(body.split(' ')[0])),
      [3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].toSorted((a, b) => a - b),
    );
    t.same(after.redeliveries.slice(0, 4), [0, 1, 0, 0]);
    t.match(info(again, 'late'), { partitions: [{ start: 20, next: 20 }] });
  }
});

t.test('what a group has out is bounded; retention makes what is gone done', async (t) => {
  const one = await lab({ ...SMALL, shareOpenMax: 10 });
  await createTopic(one);
  await append(one, numbered(300));
  const taker = take(one.client);
  await one.clock.advance(500);
  t.equal(taker.bodies.length, 10);
  await one.clock.drive(one.broker.admin.topics.truncate('/', 't', 0, 200));
  taker.subscription.settle(1, 5, 'requeue');
  taker.subscription.settle(6, 10, 'complete');
  await one.clock.advance(500);
  t.equal(taker.bodies.length, 20);
  t.ok(taker.bodies[10]?.startsWith('200 '));
});

t.test('groups end with their topic; they are listed, and deleted when nobody is in them', async (t) => {
  const one = await lab({ ...SMALL, shareGroupsPerTopicMax: 1 });
  await createTopic(one);
  const taker = take(one.client);
  const { topics } = one.broker.admin;
  t.throws(() => take(one.client, {}, 'other'), { code: 'limit-exceeded' });
  t.throws(() => take(one.client, {}, ''), { code: 'invalid-argument' });
  t.throws(() => one.client.subscribe('none', { credit: 1, share: { group: 'g' } }, { onDeliveries: () => {} }), {
    code: 'not-found',
  });
  const transaction = one.client.producer({}).transaction();
  t.throws(() => transaction.settle(taker.subscription, 1, 1, 'complete'), { code: 'not-supported' });
  t.throws(() => taker.subscription.settle(1, 1, 'complete'), { code: 'unknown-delivery' });
  await t.rejects(one.clock.drive(topics.deleteShareGroup('/', 't', 'g')), { code: 'in-use' });
  taker.subscription.close();
  await one.clock.drive(topics.deleteShareGroup('/', 't', 'g'));
  t.same(topics.shareGroups('/', 't'), []);
  await t.rejects(one.clock.drive(topics.deleteShareGroup('/', 't', 'g')), { code: 'not-found' });
  const again = take(one.client);
  await one.clock.drive(topics.delete('/', 't'));
  await one.settle();
  t.equal(again.ended, 'not-found');
  t.same((await reopened(one)).broker.admin.topics.list('/'), []);
});

t.test('renewed deliveries have all of their time again; what is settled or over is not renewed', async (t) => {
  const one = await lab({ ...SMALL, shareLockMs: 1000 });
  await createTopic(one);
  await append(one, ['a', 'b', 'c', 'd']);
  const first = take(one.client, { credit: 4 });
  await one.settle();
  const second = take(connect(one), { timeoutMs: 100_000 });
  first.subscription.settle(4, 4, 'complete');
  await one.clock.advance(900);
  t.equal(first.subscription.renew?.(1, 2), 2);
  t.equal(first.subscription.renew?.(4, 4), 0, 'settled');
  t.throws(() => first.subscription.renew?.(1, 5), { code: 'unknown-delivery' });
  await one.clock.advance(200);
  t.same(second.bodies, ['c']);
  t.equal(first.subscription.renew?.(3, 3), 0, 'its time was over');
  await one.clock.advance(500);
  t.equal(first.subscription.renew?.(2, 2), 1);
  await one.clock.advance(400);
  t.same(second.bodies, ['c', 'a']);
  await one.clock.advance(600);
  t.same(second.bodies.slice(0, 3), ['c', 'a', 'b']);
});

const letters = (one: Lab, queue = 'dead') => {
  const found: { body: string; deaths: unknown }[] = [];
  one.client.subscribe(
    queue,
    { credit: 1000, settled: true },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          const { annotations } = one.broker.hub(batch.message);
          const [death] = annotations.get('x-death') as { reason: string; queue: string; count: number }[];
          found.push({ body: bodyOf(batch.message), deaths: `${death?.queue} ${death?.reason} ${death?.count}` });
        }
      },
    },
  );
  return found;
};

async function withDead(one: Lab, args = {}): Promise<void> {
  await one.clock.drive(one.broker.admin.declareQueue('/', 'dead', { ...DURABLE, arguments: args }));
}
const DEAD = { exchange: '', key: 'dead' } as const;

t.test('what is given up goes to the dead letter exchange with its history; the topic keeps it', async (t) => {
  const one = await lab({ ...SMALL, shareDeliveriesMax: 2, shareOpenMax: 100 });
  await createTopic(one, { partitions: 2 });
  await withDead(one);
  const bodies = numbered(120);
  for (const partition of [0, 1]) await append(one, bodies.slice(partition * 60, partition * 60 + 60), partition);
  await one.clock.advance(2_000);
  const taker = take(one.client, { share: { group: 'g', start: 'first', deadLetter: DEAD } });
  await one.settle();
  t.equal(taker.bodies.length, 120);
  const [rejected, released] = [taker.bodies.slice(0, 50), taker.bodies.slice(50, 70)];
  taker.subscription.settle(1, 50, 'discard');
  taker.subscription.settle(51, 70, 'requeue');
  await one.settle();
  taker.subscription.settle(121, 140, 'modify');
  taker.subscription.settle(71, 120, 'complete');
  await one.clock.advance(500);
  const found = letters(one);
  await one.settle();
  t.same(found.map(({ body }) => body).sort(), [...rejected, ...released].sort());
  t.equal(found.filter(({ deaths }) => deaths === 't rejected 1').length, 50);
  t.equal(found.filter(({ deaths }) => deaths === 't delivery_limit 1').length, 20);
  t.match(info(one), { deadLetter: DEAD, deadLettered: 70, partitions: [{ lag: 0, leaving: 0, returned: 0 }, {}] });
  const again = await reopened(one);
  t.match(info(again), { deadLetter: DEAD, partitions: [{ lag: 0 }, { lag: 0 }] });
});

t.test('nobody takes it, or a queue is full: it stays open in its group, over a restart too', async (t) => {
  const one = await lab({ ...SMALL, deadLetterRetryMs: 1000 } as typeof SMALL);
  await createTopic(one);
  const { topics } = one.broker.admin;
  await append(one, ['a', 'b', 'c']);
  await one.clock.drive(topics.setShareGroup('/', 't', 'g', { start: 'first', deadLetter: DEAD }));
  const taker = take(one.client);
  await one.settle();
  taker.subscription.settle(1, 2, 'discard');
  taker.subscription.settle(3, 3, 'complete');
  await one.clock.advance(3_000);
  t.match(info(one), { deadLettered: 0, partitions: [{ start: 0, leaving: 2, returned: 0, held: 0, lag: 2 }] });
  await one.clock.drive(one.internals.checkpointer.run());
  let after = await reopened(one);
  t.match(info(after), { deadLetter: DEAD, partitions: [{ leaving: 2, lag: 2 }] });
  t.same(take(after.client).bodies, [], 'nobody gets them');
  await withDead(after, { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
  await after.clock.advance(15_000);
  t.match(info(after), { deadLettered: 1, partitions: [{ leaving: 1 }] });
  after = await reopened(after);
  t.match(info(after), { partitions: [{ leaving: 1 }] });
  const found = letters(after);
  await after.clock.advance(15_000);
  t.same(found.map(({ body }) => body).sort(), ['a', 'b']);
  t.match(info(after), { partitions: [{ leaving: 0, lag: 0, start: 3 }] });
});

t.test('the dead letter rule is changed and taken away; a cycle is cut; bad ones are refused', async (t) => {
  const one = await lab({ ...SMALL, shareDeliveriesMax: 1 });
  await createTopic(one);
  const { topics } = one.broker.admin;
  const set = (settings: ShareSettings, name = 'g') => one.clock.drive(topics.setShareGroup('/', 't', name, settings));
  await t.rejects(set({ deadLetter: { exchange: 'none' } }), { code: 'not-found' });
  await t.rejects(set({}, ''), { code: 'invalid-argument' });
  t.throws(() => take(one.client, { share: { group: 'x', deadLetter: { exchange: 'none' } } }), { code: 'not-found' });
  t.same(topics.shareGroups('/', 't'), []);
  await set({ start: 'first', deadLetter: { exchange: '' } });
  await append(one, ['round']);
  const taker = take(one.client);
  await one.settle();
  taker.subscription.settle(1, 1, 'requeue');
  await one.settle();
  t.equal(topics.get('/', 't')?.details[0]?.end, 1, 'not into the topic it came from, whose name is its key');
  t.match(info(one), { partitions: [{ lag: 0 }] });
  await set({ deadLetter: DEAD });
  await append(one, ['waits']);
  taker.subscription.settle(2, 2, 'discard');
  await one.settle();
  t.match(info(one), { partitions: [{ leaving: 1 }] });
  await set({});
  t.match(info(one), { partitions: [{ leaving: 0, lag: 0 }] });
  t.notOk(info(one)?.deadLetter);
  t.notOk(info(await reopened(one))?.deadLetter);
});

t.test('given up, crashes: every message that was is in the queue for dead letters, at least once', async (t) => {
  for (let seed = 1; seed <= 25; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = newDisk(clock, { seed });
    const limits = { ...SMALL, shareDeliveriesMax: 3, deadLetterRetryMs: 100 } as typeof SMALL;
    let one = await lab(limits, disk, clock);
    await createTopic(one, { partitions: 2 });
    await one.clock.drive(one.broker.admin.topics.setShareGroup('/', 't', 'g', { start: 'first', deadLetter: DEAD }));
    let count = 0;
    /** Rejected for good: known to be on disk. */
    const rejected = new Set<string>();
    const accepted = new Set<string>();
    for (let life = 0; life < 4; life++) {
      if (life === 1) await withDead(one);
      const taker = take(one.client, { credit: 20, timeoutMs: 1_000_000 });
      let settled = 0;
      for (let steps = prng.between(5, 25); steps > 0; steps--) {
        if (prng.chance(0.3)) {
          const more = Array.from({ length: prng.between(1, 20) }, () => `m${count++}`);
          await append(one, more, prng.below(2));
        } else if (prng.chance(0.1)) void one.internals.checkpointer.run();
        else await clock.advance(prng.between(1, 60));
        while (settled < taker.bodies.length && prng.chance(0.8)) {
          const body = taker.bodies[settled++] as string;
          if (rejected.has(body) || accepted.has(body)) t.fail(`seed ${seed}: ${body} again`);
          const op = prng.pick<SettleOp>(['complete', 'discard', 'requeue']);
          taker.subscription.settle(settled, settled, op);
          if (op === 'discard') taker.subscription.afterDurable(() => rejected.add(body));
          if (op === 'complete') taker.subscription.afterDurable(() => accepted.add(body));
          taker.subscription.credit(1);
        }
      }
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      clock.clear();
      one = await lab(limits, disk, clock);
    }
    await clock.advance(3_000);
    const arrived = letters(one);
    await clock.advance(1_000);
    const found = new Set(arrived.map(({ body }) => body));
    for (const body of rejected) if (!found.has(body)) t.fail(`seed ${seed}: ${body} is lost`);
    for (const body of accepted) if (found.has(body)) t.fail(`seed ${seed}: ${body} was accepted`);
    await clock.drive(one.close());
  }
  t.pass('25 seeds');
});

t.test('members, settlements, crashes: nothing that is done comes again, everything else does', async (t) => {
  for (let seed = 1; seed <= 25; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = newDisk(clock, { seed });
    const limits = { ...SMALL, shareLockMs: 200, shareDeliveriesMax: 1000, shareOpenMax: 50 };
    let one = await lab(limits, disk, clock);
    await createTopic(one, { partitions: 2 });
    let count = 0;
    /** Done, and known to be on disk. */
    const done = new Set<string>();
    /** Told to be done, not known to be on disk. */
    const told = new Set<string>();
    for (let life = 0; life < 4; life++) {
      const held = new Map<string, Taker>();
      let takers: (Taker & { settled: Set<number> })[] = [];
      const join = (): void =>
        void takers.push(Object.assign(take(connect(one), { credit: 10 }), { settled: new Set<number>() }));
      join();
      for (let steps = prng.between(5, 30); steps > 0; steps--) {
        const act = prng.weighted({ append: 3, settle: 10, join: 1, leave: 1, wait: 4, checkpoint: 1 });
        const taker = takers.length > 0 ? prng.pick(takers) : undefined;
        if (act === 'append') {
          const more = prng.between(1, 30);
          await append(
            one,
            Array.from({ length: more }, () => `m${count++}`),
            prng.below(2),
          );
        } else if (act === 'join' && takers.length < 4) join();
        else if (act === 'leave' && taker !== undefined) {
          taker.subscription.close();
          takers = takers.filter((other) => other !== taker);
        } else if (act === 'settle' && taker !== undefined) {
          const open = taker.bodies.map((_, n) => n + 1).filter((id) => !taker.settled.has(id));
          if (open.length === 0) continue;
          const id = prng.pick(open);
          const op = prng.pick<SettleOp>(['complete', 'complete', 'discard', 'requeue']);
          taker.settled.add(id);
          const before = info(one)?.partitions.reduce((sum, part) => sum + part.held, 0) ?? 0;
          taker.subscription.settle(id, id, op);
          const after = info(one)?.partitions.reduce((sum, part) => sum + part.held, 0) ?? 0;
          const body = taker.bodies[id - 1] as string;
          // Its time may have been over.
          if (after < before && op !== 'requeue') {
            told.add(body);
            taker.subscription.afterDurable(() => done.add(body));
          }
          taker.subscription.credit(1);
        } else if (act === 'checkpoint') void one.internals.checkpointer.run();
        else await clock.advance(prng.between(1, 60));
        for (const { bodies } of takers) {
          for (const body of bodies.slice(-20))
            if (done.has(body) && !told.has(body)) t.fail(`seed ${seed}: ${body} again`);
        }
      }
      held.clear();
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      clock.clear();
      one = await lab(limits, disk, clock);
      // Everybody else is told the truth about what is left.
      const rest = take(connect(one), { credit: Number.POSITIVE_INFINITY, timeoutMs: 1_000_000 }, 'g');
      const seen = new Set<string>();
      for (let rounds = 0; rounds < 200; rounds++) {
        await clock.advance(20);
        const fresh = rest.bodies.slice(seen.size);
        if (fresh.length === 0) break;
        for (const body of fresh) {
          if (done.has(body)) t.fail(`seed ${seed}, life ${life}: ${body} was done`);
          if (seen.has(body)) t.fail(`seed ${seed}, life ${life}: ${body} twice`);
          seen.add(body);
        }
        if (rest.subscription.unsettled >= 50) break;
      }
      rest.subscription.close();
      const left = info(one)?.partitions.reduce((sum, part) => sum + part.lag, 0) ?? -1;
      const ends =
        one.broker.admin.topics.get('/', 't')?.details.reduce((sum, { durableEnd }) => sum + durableEnd, 0) ?? 0;
      // Retention is off: all that is there is done or left.
      if (left > ends || left < ends - told.size)
        t.fail(`seed ${seed}, life ${life}: ${left} left of ${ends}, ${told.size} done`);
    }
    await clock.drive(one.close());
  }
  t.pass('25 seeds');
});
