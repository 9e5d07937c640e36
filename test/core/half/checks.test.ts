import t from 'tap';
import type { HalfCheck } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { connect, declare, type Fixture, newDisk, start } from '../fixture.ts';
import { type Asked, asked, drain, finish, prepare } from './support.ts';

const SECOND = 1_000;

async function startWithQueue(limits = {}): Promise<Fixture> {
  const fixture = await start(limits);
  await declare(fixture, 'a');
  return fixture;
}

/** A member that notes what it is asked, and answers with `op`. */
function member(fixture: Fixture, group = 'shop', op?: 'commit' | 'rollback', room = () => true) {
  const questions: Asked[] = [];
  const client = connect(fixture);
  const checker = client.checker(group, {
    onCheck: (check) => {
      if (!room()) return false;
      questions.push(asked(check));
      if (op !== undefined) client.finishHalf(group, check.id, op, () => {});
      return true;
    },
  });
  return { client, checker, questions };
}

const get = (fixture: Fixture, id = 'h1') => fixture.broker.admin.halves.get('/', 'shop', id);

t.test('first after 6 s, then each 30 s, 15 times, then it is parked', async (t) => {
  const fixture = await startWithQueue();
  const { questions, client } = member(fixture);
  prepare(client.producer({}), [
    ['a', 'one'],
    ['a', 'two'],
  ]);
  await fixture.clock.advance(6 * SECOND - 10);
  t.same(questions, []);
  await fixture.clock.advance(20);
  t.same(questions, [{ id: 'h1', check: 1, bodies: ['one', 'two'] }]);
  await fixture.clock.advance(30 * SECOND);
  t.same(questions[1], { id: 'h1', check: 2, bodies: ['one', 'two'] });
  await fixture.clock.advance(13 * 30 * SECOND);
  t.equal(questions.length, 15);
  t.equal(get(fixture)?.checks, 15);
  t.not(get(fixture)?.nextCheckMs, undefined, 'the last answer has its time too');
  await fixture.clock.advance(30 * SECOND);
  t.match(get(fixture), { checks: 15, nextCheckMs: undefined });
  t.match(fixture.broker.admin.halves.groups('/'), [{ halves: 1, parked: 1, checkers: 1 }]);
  t.ok(fixture.lines.includes('warn a half message is parked: nobody said what became of it'));
  await fixture.clock.advance(3600 * SECOND);
  t.equal(questions.length, 15, 'nobody is asked any more');
  await fixture.clock.drive(fixture.broker.admin.halves.finish('/', 'shop', 'h1', 'commit'));
  t.same(await drain(fixture, 'a'), ['one', 'two']);
  t.match(fixture.broker.admin.halves.groups('/'), [{ halves: 0, parked: 0 }]);
});

t.test('times and number are settable for each half', async (t) => {
  const fixture = await startWithQueue();
  const { questions, client } = member(fixture);
  prepare(client.producer({}), [['a', 'one']], { firstCheckMs: 100, checkEveryMs: 50, checksMax: 3 });
  prepare(client.producer({}), [['a', 'two']], { id: 'h2', firstCheckMs: 100, checksMax: 0 });
  await fixture.clock.advance(120);
  t.equal(questions.length, 1);
  t.match(get(fixture, 'h2'), { nextCheckMs: undefined }, 'no check: parked when the first one would have been');
  await fixture.clock.advance(100);
  t.equal(questions.length, 3);
  await fixture.clock.advance(50);
  t.match(get(fixture), { nextCheckMs: undefined });
});

t.test('any live member of the same group is asked, in turn; who has no room is passed over', async (t) => {
  const fixture = await startWithQueue();
  let room = false;
  const gone = member(fixture);
  const one = member(fixture);
  const two = member(fixture, 'shop', undefined, () => room);
  const other = member(fixture, 'other');
  prepare(gone.client.producer({}), [['a', 'one']], { checkEveryMs: SECOND });
  gone.client.close();
  await fixture.clock.advance(7.5 * SECOND);
  t.equal(one.questions.length, 2);
  room = true;
  await fixture.clock.advance(4 * SECOND);
  t.equal(one.questions.length, 4);
  t.equal(two.questions.length, 2);
  t.equal(other.questions.length + gone.questions.length, 0);
  two.checker.close();
  two.checker.close();
  await fixture.clock.advance(2 * SECOND);
  t.equal(two.questions.length, 2);
});

t.test('the answer ends it: committed or rolled back', async (t) => {
  const fixture = await startWithQueue();
  const { questions, client } = member(fixture, 'shop', 'commit');
  member(fixture, 'other', 'rollback');
  prepare(client.producer({}), [['a', 'one']]);
  prepare(client.producer({}), [['a', 'two']], { group: 'other' });
  await fixture.clock.advance(100 * SECOND);
  t.equal(questions.length, 1);
  t.same(await drain(fixture, 'a'), ['one']);
  t.same(fixture.broker.admin.halves.list('/'), []);
});

t.test('without a live member the address of the group is called, some at a time', async (t) => {
  const fixture = await startWithQueue({ halfChecksAtOnceMax: 2 });
  const { halves } = fixture.broker.admin;
  const calls: { address: string; id: string; end: () => void }[] = [];
  halves.setCaller((address: string, { id }: HalfCheck) => {
    return new Promise((end) => calls.push({ address, id, end }));
  });
  await fixture.clock.drive(halves.setCallback('/', 'shop', 'somewhere'));
  t.match(halves.groups('/'), [{ name: 'shop', callback: 'somewhere' }]);
  const producer = connect(fixture).producer({});
  for (const n of [1, 2, 3]) prepare(producer, [['a', 'x']], { id: `h${n}`, firstCheckMs: 6000 + n });
  await fixture.clock.advance(6.1 * SECOND);
  t.match(calls, [{ address: 'somewhere', id: 'h1' }, { id: 'h2' }]);
  await fixture.clock.advance(30 * SECOND);
  t.equal(calls.length, 2, 'nobody is asked twice at a time');
  calls[0]?.end();
  await fixture.clock.advance(1);
  t.match(calls[2], { id: 'h3' });
  const live = member(fixture);
  calls[1]?.end();
  calls[2]?.end();
  await fixture.clock.advance(30 * SECOND);
  t.equal(live.questions.length, 3, 'a live member is asked first');
  t.equal(calls.length, 3);
  live.client.close();
  await fixture.clock.drive(halves.setCallback('/', 'shop', undefined));
  await fixture.clock.advance(30 * SECOND);
  t.equal(calls.length, 3);
  await t.rejects(halves.setCallback('/', 'none', undefined), { code: 'not-found' });
});

t.test('a check that reaches nobody counts, and a wall clock that jumps changes nothing', async (t) => {
  const fixture = await startWithQueue();
  prepare(connect(fixture).producer({}), [['a', 'one']]);
  await fixture.clock.advance(1 * SECOND);
  fixture.clock.epochMs -= 3600 * SECOND;
  await fixture.clock.advance(5.1 * SECOND);
  t.equal(get(fixture)?.checks, 1);
  fixture.clock.epochMs += 7200 * SECOND;
  await fixture.clock.advance(29 * SECOND);
  t.equal(get(fixture)?.checks, 1);
  await fixture.clock.advance(1 * SECOND);
  t.equal(get(fixture)?.checks, 2);
});

t.test('a restart goes on counting, and gives producers time to come back', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  let fixture = await start({}, clock, disk);
  await declare(fixture, 'a');
  const producer = connect(fixture).producer({});
  prepare(producer, [['a', 'one']]);
  prepare(producer, [['a', 'two']], { id: 'h2', firstCheckMs: 3600 * SECOND });
  prepare(producer, [['a', 'three']], { id: 'h3', firstCheckMs: 10, checksMax: 0 });
  await clock.drive(fixture.broker.admin.halves.setCallback('/', 'shop', 'somewhere'));
  await clock.advance(37 * SECOND);
  t.equal(get(fixture)?.checks, 2);
  for (const how of ['clean', 'checkpoint', 'kill'] as const) {
    if (how === 'checkpoint') await clock.drive(fixture.internals.checkpointer.run());
    await clock.advance(10);
    if (how === 'kill') disk.kill();
    else await clock.drive(fixture.close());
    clock.clear();
    // Long enough for the next check to be due.
    clock.epochMs += 40 * SECOND;
    fixture = await start({}, clock, disk);
    t.match(get(fixture), { checks: how === 'clean' ? 2 : how === 'checkpoint' ? 3 : 4, checksMax: 15 }, how);
    t.match(get(fixture, 'h3'), { nextCheckMs: undefined });
    t.match(fixture.broker.admin.halves.groups('/'), [{ halves: 3, parked: 1, callback: 'somewhere' }]);
    const { questions, client } = member(fixture);
    await clock.advance(5.9 * SECOND);
    t.same(questions, [], 'producers that come back are not asked at once');
    await clock.advance(0.2 * SECOND);
    t.match(questions, [{ id: 'h1', bodies: ['one'] }]);
    client.close();
  }
  // Backwards by a day: what was due in an hour must not wait for a day.
  disk.kill();
  clock.clear();
  clock.epochMs -= 24 * 3600 * SECOND;
  fixture = await start({}, clock, disk);
  const { questions, client } = member(fixture, 'shop', 'commit');
  await clock.advance(3601 * SECOND);
  t.same(questions.map(({ id }) => id).sort(), ['h1', 'h2']);
  t.same((await drain(fixture, 'a')).sort(), ['one', 'two']);
  t.equal(await finish(fixture, client, 'rollback', 'h3'), 'done');
  await clock.drive(fixture.close());
});
