import t from 'tap';
import { type Assignable, STRATEGIES, targetOf } from '../../../src/core/topic/assign.ts';
import type { Partition } from '../../../src/core/topic/partition.ts';
import { Prng } from '../../../src/testing/prng.ts';

interface Fake extends Assignable {
  kept: readonly Partition[];
}

function partitionsOf(topicId: number, count: number): Partition[] {
  const topic = { id: topicId, name: `t${topicId}` };
  return Array.from({ length: count }, (_, number) => ({ topic, number }) as unknown as Partition);
}

const member = (id: string, topics: readonly number[] = [1], kept: readonly Partition[] = []): Fake => ({
  id,
  kept,
  wants: (partition) => topics.includes(partition.topic.id),
});

const numbers = (partitions: readonly Partition[] | undefined): string[] =>
  (partitions ?? []).map((partition) => `${partition.topic.id}.${partition.number}`);

t.test('range gives neighbours, one topic after the other', async (t) => {
  const [a, b] = [member('a', [1, 2]), member('b', [1])];
  const target = targetOf('range', [b, a], [...partitionsOf(1, 5), ...partitionsOf(2, 2)]);
  t.same(numbers(target.get(a)), ['1.0', '1.1', '1.2', '2.0', '2.1']);
  t.same(numbers(target.get(b)), ['1.3', '1.4']);
});

t.test('round robin deals all partitions out one by one', async (t) => {
  const [a, b] = [member('a', [1, 2]), member('b', [1, 2])];
  const target = targetOf('round-robin', [a, b], [...partitionsOf(1, 3), ...partitionsOf(2, 2)]);
  t.same(numbers(target.get(a)), ['1.0', '1.2', '2.1']);
  t.same(numbers(target.get(b)), ['1.1', '2.0']);
});

t.test('sticky moves no more than it must', async (t) => {
  const partitions = partitionsOf(1, 9);
  const [a, b, c] = [member('a', [1], partitions.slice(0, 5)), member('b', [1], partitions.slice(5)), member('c')];
  const target = targetOf('cooperative-sticky', [a, b, c], partitions);
  t.same(
    [a, b, c].map((one) => target.get(one)?.length),
    [3, 3, 3],
  );
  t.same(target.get(a), a.kept.slice(0, 3));
  t.same(target.get(b), b.kept.slice(0, 3));
  const without = targetOf('cooperative-sticky', [a, b], partitions);
  t.same(without.get(a), a.kept);
});

t.test(
  'whatever the members want: each partition has one taker who wants it; sticky is even and settles',
  async (t) => {
    for (let seed = 1; seed <= 200; seed++) {
      const prng = new Prng(seed);
      const partitions = [1, 2, 3].flatMap((topic) => partitionsOf(topic, prng.below(9)));
      const members = Array.from({ length: prng.between(1, 7) }, (_, n) => {
        const topics = seed % 2 === 0 ? [1, 2, 3] : [1, 2, 3].filter(() => prng.chance(0.6));
        return member(`m${n}`, topics, prng.chance(0.5) ? partitions.filter((_, at) => at % 7 === n) : []);
      });
      for (const strategy of STRATEGIES) {
        const target = targetOf(strategy, prng.shuffle(members), partitions);
        const dealt = [...target.values()].flat();
        const wanted = partitions.filter((partition) => members.some((one) => one.wants(partition)));
        if (dealt.length !== wanted.length || new Set(dealt).size !== dealt.length)
          t.fail(`seed ${seed} ${strategy}: dealt`);
        for (const [one, given] of target)
          if (!given.every((partition) => one.wants(partition))) t.fail(`seed ${seed}`);
        if (strategy !== 'cooperative-sticky') continue;
        const loads = [...target.values()].map((given) => given.length);
        if (seed % 2 === 0 && Math.max(...loads) - Math.min(...loads) > 1) t.fail(`seed ${seed}: ${loads}`);
        for (const one of members) one.kept = target.get(one) ?? [];
        const again = targetOf(strategy, members, partitions);
        for (const one of members) if (again.get(one)?.length !== one.kept.length) t.fail(`seed ${seed}: moves again`);
      }
    }
    t.pass('200 seeds');
  },
);
