/** Which member of a consumer group reads which partition: pure functions from members and partitions to a target. */
import type { GroupStrategy } from '../door.ts';
import type { Partition } from './partition.ts';

/** What the strategies need to know of a member. */
export interface Assignable {
  /** Breaks ties, so that the same members always get the same. */
  readonly id: string;
  /** It wants partitions of this topic. */
  wants(partition: Partition): boolean;
  /** What it holds, without what it was asked to give up. */
  readonly kept: readonly Partition[];
}

export type Target<M> = ReadonlyMap<M, readonly Partition[]>;

type Deal = <M extends Assignable>(
  members: readonly M[],
  partitions: readonly Partition[],
  into: Map<M, Partition[]>,
) => void;

/** One topic after the other: each member gets neighbours, the first members one more where it does not come out even. */
const range: Deal = (members, partitions, into) => {
  for (const ofTopic of byTopic(partitions)) {
    const takers = members.filter((member) => member.wants(ofTopic[0] as Partition));
    for (const [n, taker] of takers.entries()) {
      const from = Math.ceil((ofTopic.length * n) / takers.length);
      const to = Math.ceil((ofTopic.length * (n + 1)) / takers.length);
      into.get(taker)?.push(...ofTopic.slice(from, to));
    }
  }
};

/** All partitions of all topics, dealt out one by one to the members that want them. */
const roundRobin: Deal = (members, partitions, into) => {
  let turn = 0;
  for (const partition of partitions) {
    for (let tries = 0; tries < members.length; tries++, turn++) {
      const member = members[turn % members.length] as (typeof members)[number];
      if (!member.wants(partition)) continue;
      into.get(member)?.push(partition);
      turn++;
      break;
    }
  }
};

/** As even as it can be, and nothing moves that does not have to. */
const sticky: Deal = (members, partitions, into) => {
  const there = new Set(partitions);
  const free = new Set(partitions);
  for (const member of members) {
    for (const partition of member.kept) {
      if (!there.has(partition) || !free.has(partition) || !member.wants(partition)) continue;
      free.delete(partition);
      into.get(member)?.push(partition);
    }
  }
  const load = (member: (typeof members)[number]): number => into.get(member)?.length ?? 0;
  for (const partition of free) {
    const takers = members.filter((member) => member.wants(partition));
    const least = takers.reduce<(typeof members)[number] | undefined>(
      (best, member) => (best === undefined || load(member) < load(best) ? member : best),
      undefined,
    );
    if (least !== undefined) into.get(least)?.push(partition);
  }
  while (moveOne(members, into));
};

/** Move one partition from a member to one that has at least two fewer; false when there is no such pair. */
function moveOne<M extends Assignable>(members: readonly M[], into: Map<M, Partition[]>): boolean {
  const sorted = [...members].sort((a, b) => (into.get(a)?.length ?? 0) - (into.get(b)?.length ?? 0));
  for (const rich of sorted.toReversed()) {
    const has = into.get(rich) ?? [];
    for (const poor of sorted) {
      const gets = into.get(poor) ?? [];
      if (has.length - gets.length < 2) break;
      // The one it got last: what it has held for long stays.
      const at = has.findLastIndex((partition) => poor.wants(partition));
      if (at < 0) continue;
      gets.push(...has.splice(at, 1));
      return true;
    }
  }
  return false;
}

const DEALS: { readonly [S in GroupStrategy]: Deal } = {
  range,
  'round-robin': roundRobin,
  'cooperative-sticky': sticky,
};

/** What each member should hold. @param partitions of all topics that anybody wants, by topic and number */
export function targetOf<M extends Assignable>(
  strategy: GroupStrategy,
  members: readonly M[],
  partitions: readonly Partition[],
): Target<M> {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const into = new Map<M, Partition[]>(sorted.map((member) => [member, []]));
  DEALS[strategy](sorted, partitions, into);
  return into;
}

function byTopic(partitions: readonly Partition[]): Partition[][] {
  const topics = new Map<number, Partition[]>();
  for (const partition of partitions) {
    const known = topics.get(partition.topic.id);
    if (known === undefined) topics.set(partition.topic.id, [partition]);
    else known.push(partition);
  }
  return [...topics.values()];
}

export const STRATEGIES = Object.keys(DEALS) as readonly GroupStrategy[];
