/** A member of a consumer group on a JSON WebSocket: told which partitions are its own, and which to give up. */
import { CoreError, type GroupMember, type OffsetCommit, type TopicPartition } from '../../core/index.ts';
import type { FrameId, JsonPlace, MemberFrame, MemberOffset } from './frames.ts';
import type { JsonSubscription, SubscriptionHost } from './subscriptions.ts';

export class Membership implements JsonSubscription {
  readonly #member: GroupMember;

  /** Throws `not-found` (a stream), `invalid-argument`, `limit-exceeded`. */
  constructor({ client, onEnd, output }: SubscriptionHost, { id, group, streams, strategy }: MemberFrame) {
    const tell = (op: 'assigned' | 'revoked', epoch: number, partitions: readonly object[]): void =>
      output.sendText(JSON.stringify({ op, sub: id, epoch, partitions }));
    const options = { topics: streams, memberName: String(id), ...(strategy === undefined ? {} : { strategy }) };
    this.#member = client.joinGroup(group, options, {
      onAssigned: (partitions, epoch) => {
        // Where the group is in each, if it was there before.
        const placed = partitions.map((one) => ({
          ...placeJson(one),
          offset: this.#member.committed(one.topic, one.partition),
        }));
        tell('assigned', epoch, placed);
      },
      onRevoked: (partitions, epoch) => tell('revoked', epoch, partitions.map(placeJson)),
      onEnd: (reason) => onEnd(id, reason),
    });
  }

  /** Write offsets down; `done` when they are on disk. Throws what `GroupMember.commit` throws. */
  commit(offsets: readonly MemberOffset[], done: () => void): void {
    const commits: OffsetCommit[] = offsets.map(({ stream, ...rest }) => ({ topic: stream, ...rest }));
    this.#member.commit(commits, done);
  }

  /** Give up what was asked back; undefined: all of it. */
  release(places: readonly JsonPlace[] | undefined): void {
    this.#member.release(places?.map(({ stream, partition }) => ({ topic: stream, partition })));
  }

  onRoom(): void {}

  close(): void {
    this.#member.leave();
  }
}

function placeJson({ topic, partition }: TopicPartition): JsonPlace {
  return { stream: topic, partition };
}

/** Throws `precondition-failed` for a subscription of another kind. */
export function membershipOf(subscription: JsonSubscription, id: FrameId): Membership {
  if (subscription instanceof Membership) return subscription;
  throw new CoreError('precondition-failed', `${id} is no member of a consumer group`);
}
