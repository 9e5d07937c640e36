/** Whose message groups are, among the consumers of a queue: given, kept, given up, shared out anew (docs/message-groups.md). */
import { TRANSIENT_BODY } from '../bodies.ts';
import { HELD } from '../queue/entry-info.ts';
import type { Lane } from '../queue/lane.ts';
import type { Queue } from '../queue/queue.ts';
import { Buckets, NOBODY } from './buckets.ts';
import type { PinnedGroups } from './door.ts';
import { isParked, setParked } from './parking.ts';
import type { Scan } from './scan.ts';
import type { Share } from './share.ts';

export class Owners {
  readonly #queue: Queue;
  /** Undefined where groups mean nothing. */
  #buckets: Buckets | undefined;
  /** By number; number 0 is nobody. */
  readonly #shares: (Share | undefined)[] = [undefined];
  readonly #freeNumbers: number[] = [];
  /** All scans of the queue. */
  scans: readonly Scan[] = [];

  constructor(queue: Queue) {
    this.#queue = queue;
    this.#buckets = bucketsOf(queue);
  }

  /** Messages may be in groups that count. */
  get matter(): boolean {
    return this.#buckets !== undefined;
  }

  // ---- Consumers --------------------------------------------------------------------------------------------------

  /** A number for a consumer that comes. */
  nextNumber(): number {
    return this.#freeNumbers.pop() ?? this.#shares.push(undefined) - 1;
  }

  add(share: Share): void {
    this.#shares[share.number] = share;
    if (this.#queue.rules.groupRebalance && !share.subscription.pull) this.#shareOutAnew(share);
  }

  /** A consumer without groups is gone. */
  remove(share: Share): void {
    this.#shares[share.number] = undefined;
    this.#freeNumbers.push(share.number);
  }

  /** Know what a subscription took while nobody chose what goes to whom. */
  adopt(share: Share): void {
    share.subscription.eachUnsettled((position) => {
      const lane = this.#queue.laneAt(position);
      const here = position - lane.offset;
      lane.ring.setInfo(here, lane.ring.info(here) | HELD);
      const bucket = this.bucketAt(lane, here);
      if (bucket < 0) return;
      if (this.of(bucket) === undefined) this.give(bucket, share);
      this.handedOut(bucket);
    });
  }

  /** Other rules: have other buckets. */
  regroup(): void {
    const shares = this.#shares.filter((share) => share !== undefined);
    for (const share of shares) {
      for (const position of share.takeListed()) this.#unpark(position);
      share.forgetUnlisted();
      share.owned = 0;
    }
    this.#buckets = bucketsOf(this.#queue);
    for (const share of shares) this.adopt(share);
    for (const scan of this.scans) scan.restart();
    this.#queue.engine.wake(this.#queue);
  }

  /** It gets messages when it can take them. */
  serves({ subscription, leaving }: Share): boolean {
    return !leaving && (subscription.pull || this.#queue.consumers.isActive(subscription));
  }

  /** All groups of a consumer are to be somebody else's, as soon as nothing of them is in its hands. */
  giveUpAll(share: Share): void {
    if (share.owned > 0) for (const bucket of this.#buckets?.of(share.number) ?? []) this.giveUp(bucket, share);
    share.forgetUnlisted();
  }

  /** Share the groups out anew among consumers as high as the one that came; those of lower ones all move. */
  #shareOutAnew({ subscription: { priority } }: Share): void {
    const others = this.#shares.filter((share) => share !== undefined && share.subscription.priority <= priority);
    const peers = others.filter((share) => share?.subscription.priority === priority && !share.leaving);
    const fair = Math.ceil(others.reduce((sum, share) => sum + (share?.owned ?? 0), 0) / peers.length);
    for (const share of others as Share[]) {
      let excess = share.subscription.priority === priority ? share.owned - fair : share.owned;
      for (const bucket of this.#buckets?.of(share.number) ?? []) {
        if (excess-- <= 0) break;
        this.giveUp(bucket, share);
      }
    }
  }

  // ---- Buckets ----------------------------------------------------------------------------------------------------

  /** The bucket of a message's group; -1 when it is in none. */
  bucketAt(lane: Lane, here: number): number {
    if (this.#buckets === undefined) return -1;
    const { ring } = lane;
    const { bodies } = this.#queue.engine;
    const table = (ring.info(here) & TRANSIENT_BODY) === 0 ? bodies.logged : bodies.transient;
    const hash = table.flags(ring.body(here));
    return hash === 0 ? -1 : this.#buckets.bucketOf(hash);
  }

  /** The owner of a bucket. */
  of(bucket: number): Share | undefined {
    return bucket < 0 ? undefined : this.#shares[(this.#buckets as Buckets).owner(bucket)];
  }

  isGivingUp(bucket: number): boolean {
    return (this.#buckets as Buckets).isEnding(bucket);
  }

  /** A bucket that is nobody's becomes a consumer's. */
  give(bucket: number, share: Share): void {
    (this.#buckets as Buckets).pin(bucket, share.number);
    share.owned++;
  }

  /** A message of the bucket goes to its owner. Answers whether it is the first one. */
  handedOut(bucket: number): boolean {
    return (this.#buckets as Buckets).handedOut(bucket);
  }

  /** A delivery is about to be settled, or to go back. */
  settled(lane: Lane, here: number): void {
    const buckets = this.#buckets;
    const bucket = this.bucketAt(lane, here);
    if (buckets === undefined || bucket < 0 || buckets.owner(bucket) === NOBODY || !buckets.settled(bucket)) return;
    const owner = this.of(bucket) as Share;
    // Those that take on request hold a group only as long as they hold a message of it.
    const lasts = this.serves(owner) && !owner.subscription.pull && !buckets.isEnding(bucket);
    if (!lasts) this.giveUp(bucket, owner);
  }

  /** Hand nothing more of a bucket to its owner; it is nobody's once all of it is settled. */
  giveUp(bucket: number, owner: Share): void {
    const buckets = this.#buckets as Buckets;
    buckets.end(bucket);
    for (const position of owner.takeListed()) {
      const lane = this.#queue.laneAt(position);
      const here = position - lane.offset;
      if (!lane.isReady(here)) continue;
      if (this.bucketAt(lane, here) !== bucket) {
        owner.list(position);
        continue;
      }
      setParked(lane, here, false);
      owner.scan.miss(position, bucket);
    }
    for (const position of owner.unlisted()) owner.scan.miss(position, bucket);
    if (buckets.unsettled(bucket) === 0) this.#free(bucket, owner);
  }

  /** Take the bucket of a group away from its owner. Answers whether it was somebody's. */
  release(hash: number): boolean {
    const bucket = this.#buckets?.bucketOf(hash) ?? -1;
    const owner = this.of(bucket);
    if (owner === undefined) return false;
    this.giveUp(bucket, owner);
    return true;
  }

  *pinned(): IterableIterator<PinnedGroups> {
    const buckets = this.#buckets;
    for (const bucket of buckets?.pinned() ?? []) {
      const { tag, client } = (this.of(bucket) as Share).subscription.info();
      const unsettled = (buckets as Buckets).unsettled(bucket);
      yield { bucket, tag, client, unsettled, ending: this.isGivingUp(bucket) };
    }
  }

  #free(bucket: number, owner: Share): void {
    (this.#buckets as Buckets).unpin(bucket);
    owner.owned--;
    for (const scan of this.scans) scan.retry(bucket);
    this.#queue.engine.wake(this.#queue);
  }

  // ---- Waiting messages -------------------------------------------------------------------------------------------

  /** A message is its bucket's owner's. @param scan that has passed it */
  leaveTo(owner: Share, scan: Scan, lane: Lane, here: number, bucket: number): void {
    const position = lane.offset + here;
    if (owner.scan !== scan || this.isGivingUp(bucket)) {
      scan.miss(position, bucket);
      return;
    }
    if (isParked(lane, here)) return;
    if (owner.hasRoom) {
      owner.list(position);
      setParked(lane, here, true);
    } else {
      owner.note(position);
    }
    scan.call(owner);
  }

  /** A message waits for nobody any more. */
  #unpark(position: number): void {
    const lane = this.#queue.laneAt(position);
    if (lane.isReady(position - lane.offset)) setParked(lane, position - lane.offset, false);
  }

  /** Everything ready was purged. */
  emptied(): void {
    for (const share of this.#shares) {
      share?.takeListed();
      share?.forgetUnlisted();
    }
  }
}

function bucketsOf({ grouped, rules }: Queue): Buckets | undefined {
  return grouped && rules.groupBuckets > 0 ? new Buckets(rules.groupBuckets) : undefined;
}
