import t from 'tap';
import type { Client, GroupMember, GroupOptions, TopicPartition } from '../../../src/core/index.ts';
import { dump } from '../../../src/testing/dump.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { connect } from '../fixture.ts';
import { append, createTopic, type Lab, lab, numbered, reopened } from './support.ts';

interface Seen {
  readonly member: GroupMember;
  readonly assigned: number[];
  readonly revoked: number[];
  ended: string | undefined;
}

/** A member that notes what it is told. @param gives releases at once what it is asked for */
function join(client: Client, options: Partial<GroupOptions> = {}, gives = true): Seen {
  const numbers = (partitions: readonly TopicPartition[]): number[] => partitions.map((one) => one.partition);
  const seen: Seen = { member: undefined as never, assigned: [], revoked: [], ended: undefined };
  const member = client.joinGroup(
    'g',
    { topics: ['t'], ...options },
    {
      onAssigned: (partitions) => seen.assigned.push(...numbers(partitions)),
      onRevoked: (partitions) => {
        seen.revoked.push(...numbers(partitions));
        if (gives) seen.member.release();
      },
      onEnd: (reason) => {
        seen.ended = reason;
      },
    },
  );
  return Object.assign(seen, { member });
}

const held = (seen: Seen): number[] => seen.member.assigned.map((one) => one.partition).sort((a, b) => a - b);
const group = (lab: Lab) => lab.broker.admin.topics.group('/', 'g');

function committed(lab: Lab, seen: Seen, partition: number, offset: number, metadata?: string): Promise<void> {
  const commit = { topic: 't', partition, offset, ...(metadata === undefined ? {} : { metadata }) };
  return lab.clock.drive(new Promise((done) => seen.member.commit([commit], done)));
}

t.test('partitions are shared out, and move only when their holder has let go', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 4 });
  const first = join(one.client, {}, false);
  t.same(first.assigned, [], 'told in the broker’s own turn');
  await one.settle();
  t.same(first.assigned, [0, 1, 2, 3]);
  const second = join(connect(one));
  await one.settle();
  t.same(second.assigned, [], 'not before the first one has released');
  t.equal(first.revoked.length, 2);
  t.equal(held(first).length, 2);
  await append(one, numbered(5), first.revoked[0]);
  await committed(one, first, first.revoked[0] as number, 5);
  first.member.release();
  await one.settle();
  t.same([...second.assigned].sort(), [...first.revoked].sort());
  t.equal(second.member.committed('t', first.revoked[0] as number), 5, 'goes on where the other one was');
  t.throws(() => first.member.commit([{ topic: 't', partition: first.revoked[0] as number, offset: 1 }], () => {}), {
    code: 'fenced',
  });
  t.ok(second.member.epoch > 0 && second.member.epoch >= first.member.epoch);
  second.member.leave();
  await one.settle();
  t.same(held(first), [0, 1, 2, 3]);
  t.same(group(one)?.members, [first.member.id]);
});

t.test('a member that does not release is put out after a while; its client’s end is a leave', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 2 });
  const first = join(one.client, { strategy: 'range' }, false);
  await one.settle();
  const other = connect(one);
  const second = join(other);
  await one.clock.advance(44_000);
  t.equal(first.ended, undefined);
  await one.clock.advance(2_000);
  t.equal(first.ended, 'fenced');
  t.same(held(second), [0, 1]);
  t.throws(() => first.member.commit([{ topic: 't', partition: 0, offset: 0 }], () => {}), { code: 'fenced' });
  const third = join(one.client);
  await one.settle();
  t.same([...held(second), ...held(third)].sort(), [0, 1]);
  other.close();
  await one.settle();
  t.same(held(third), [0, 1]);
});

t.test('offsets with notes last over restarts and checkpoints; lag is what is left', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 2 });
  await append(one, numbered(40), 0);
  const seen = join(one.client);
  await one.settle();
  await committed(one, seen, 0, 10);
  await committed(one, seen, 0, 25, 'half way');
  await one.clock.drive(one.internals.checkpointer.run());
  await committed(one, seen, 1, 0);
  const again = await reopened(one);
  t.same(dump(again.internals.topology), dump(one.internals.topology));
  t.match(group(again), {
    members: [],
    offsets: [
      { topic: 't', partition: 0, offset: 25, metadata: 'half way', lag: 15 },
      { topic: 't', partition: 1, offset: 0, metadata: '', lag: 0 },
    ],
  });
  const { admin } = again.broker;
  const drive = <T>(promise: Promise<T>): Promise<T> => again.clock.drive(promise);
  await drive(admin.topics.setOffsets('/', 'g', [{ topic: 't', partition: 0, offset: 3 }]));
  await drive(admin.topics.truncate('/', 't', 0, 30));
  t.equal(group(again)?.offsets[0]?.lag, 10, 'what is gone does not count');
  await drive(admin.topics.delete('/', 't'));
  t.equal(group(again), undefined, 'a group without offsets and members is no more');
  await createTopic(again, { partitions: 1 });
  await drive(admin.topics.setOffsets('/', 'g', [{ topic: 't', partition: 0, offset: 0 }]));
  t.match(group(again)?.offsets, [{ offset: 0 }], 'a topic of the same name is another one');
  await drive(admin.topics.deleteGroup('/', 'g'));
  t.same((await reopened(again)).broker.admin.topics.groups('/'), []);
});

t.test('bad commits and bad members are refused', async (t) => {
  const one = await lab({ groupMembersMax: 2, groupsPerVhostMax: 1 });
  await createTopic(one, { partitions: 2 });
  await append(one, ['a'], 0);
  const seen = join(one.client);
  await one.settle();
  const commit = (offset: number, more = {}) => {
    seen.member.commit([{ topic: 't', partition: 0, offset, ...more }], () => {});
  };
  for (const offset of [-1, 0.5, 2, Number.NaN]) t.throws(() => commit(offset), { code: 'offset-out-of-range' });
  t.throws(() => commit(1, { metadata: 'x'.repeat(5000) }), { code: 'invalid-argument' });
  t.throws(() => commit(1, { partition: 7 }), { code: 'invalid-argument' });
  t.throws(() => commit(1, { topic: 'none' }), { code: 'not-found' });
  t.same(group(one)?.offsets[0]?.offset, undefined, 'nothing was written');
  t.throws(() => join(one.client, { strategy: 'range' }), { code: 'invalid-argument' });
  t.throws(() => join(one.client, { topics: ['none'] }), { code: 'not-found' });
  join(one.client);
  t.throws(() => join(one.client), { code: 'limit-exceeded' });
  t.throws(() => one.client.joinGroup('other', { topics: [] }, { onAssigned: () => {}, onRevoked: () => {} }), {
    code: 'limit-exceeded',
  });
  const { admin } = one.broker;
  await t.rejects(one.clock.drive(admin.topics.deleteGroup('/', 'g')), { code: 'in-use' });
  await t.rejects(one.clock.drive(admin.topics.setOffsets('/', 'g', [])), { code: 'in-use' });
  await t.rejects(one.clock.drive(admin.topics.deleteGroup('/', 'none')), { code: 'not-found' });
});

t.test('more partitions are shared out; those of a deleted topic are gone', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 1 });
  const seen = join(one.client);
  await one.settle();
  await one.clock.drive(one.broker.admin.topics.alter('/', 't', { partitions: 3 }));
  await one.settle();
  t.same(held(seen), [0, 1, 2]);
  await one.clock.drive(one.broker.admin.topics.delete('/', 't'));
  await one.settle();
  t.same(held(seen), []);
});

t.test('members come, go and are slow: never two holders of a partition, and in the end none without', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const one = await lab();
    await createTopic(one, { partitions: 7 });
    const strategy = prng.pick(['range', 'round-robin', 'cooperative-sticky'] as const);
    let members: Seen[] = [];
    const check = (): void => {
      const all = members.flatMap(({ assigned, member }) => (assigned.length > 0 ? held({ member } as Seen) : []));
      if (new Set(all).size !== all.length) t.fail(`seed ${seed}: two holders among ${all}`);
    };
    for (let step = 0; step < 40; step++) {
      const act = prng.weighted({ join: 3, leave: 2, release: 4, wait: 4 });
      const some = members.length > 0 ? prng.pick(members) : undefined;
      if (act === 'join' && members.length < 8) members.push(join(one.client, { strategy }, prng.chance(0.5)));
      else if (act === 'leave' && some !== undefined) {
        some.member.leave();
        members = members.filter((seen) => seen !== some);
      } else if (act === 'release') some?.member.release();
      else await one.clock.advance(prng.below(30));
      check();
    }
    if (members.length === 0) members.push(join(one.client, { strategy }));
    for (let rounds = 0; rounds < 20; rounds++) {
      await one.clock.advance(10);
      for (const { member } of members) member.release();
    }
    await one.clock.advance(10);
    check();
    const all = members.flatMap(held);
    if (all.length !== 7) t.fail(`seed ${seed}: ${all.length} of 7 are held`);
  }
  t.pass('40 seeds');
});

t.test('a group without members and offsets is no more, also after a join or a commit that was refused', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 1 });
  const groups = () => one.broker.admin.topics.groups('/').map(({ name }) => name);
  const member = join(one.client);
  t.same(groups(), ['g']);
  member.member.leave();
  t.same(groups(), []);
  t.throws(() => join(one.client, { topics: ['none'] }), { code: 'not-found' });
  const far = [{ topic: 't', partition: 0, offset: 9 }];
  await t.rejects(one.broker.admin.topics.setOffsets('/', 'h', far), { code: 'offset-out-of-range' });
  const transaction = one.client.producer({}).transaction();
  transaction.commitOffsets('i', far);
  t.same(groups(), []);
  t.throws(() => transaction.commit(() => {}), { code: 'offset-out-of-range' });
  t.same(groups(), []);
  const kept = join(one.client);
  await one.settle();
  await committed(one, kept, 0, 0);
  kept.member.leave();
  t.same(groups(), ['g'], 'offsets keep it');
  await one.close();
});
