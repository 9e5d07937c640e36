/**
 * Members of consumer groups over HTTP. A member is no connection: it is there as long as it calls, and ends when it has been
 * silent for its session. What it holds is a state that it asks for, so an answer that was lost is asked for again.
 */
import { randomBytes } from 'node:crypto';
import {
  type Clock,
  CoreError,
  type ErrorCode,
  type GroupMember,
  type GroupOptions,
  type Limits,
  type OffsetCommit,
  type Timer,
  type TopicPartition,
} from '../../core/index.ts';
import type { HttpClient, HttpClients } from './clients.ts';

/** Bytes of randomness in a member's id: it is never that of another one, not after a restart either. */
const ID_BYTES = 9;

export interface JoinRequest {
  readonly group: string;
  readonly options: GroupOptions;
  readonly sessionMs: number;
}

/** One member of a user. */
export class Membership {
  readonly owner: HttpClient;
  readonly sessionMs: number;
  readonly #clock: Clock;
  readonly #gone: (membership: Membership) => void;
  readonly #member: GroupMember;
  /** By partition: the epoch with which the member got it. */
  readonly #since = new Map<string, number>();
  #session: Timer;
  /** Answers the request that waits for news. */
  #answer: (() => void) | undefined;
  #ended: CoreError | undefined;

  /** @param gone called once, when it is over. Throws as `Client.joinGroup`. */
  constructor(
    owner: HttpClient,
    { group, options, sessionMs }: JoinRequest,
    clock: Clock,
    gone: (membership: Membership) => void,
  ) {
    this.owner = owner;
    this.sessionMs = sessionMs;
    this.#clock = clock;
    this.#gone = gone;
    this.#member = owner.client.joinGroup(group, options, {
      onAssigned: (partitions, epoch) => {
        for (const one of partitions) this.#since.set(nameOf(one), epoch);
        this.#answer?.();
      },
      onRevoked: () => this.#answer?.(),
      onEnd: (reason) => this.#end(new CoreError(reason, `'${this.id}' was put out of group '${this.group}'`)),
    });
    this.#session = this.#await();
  }

  get id(): string {
    return this.#member.id;
  }

  get group(): string {
    return this.#member.group;
  }

  get epoch(): number {
    return this.#member.epoch;
  }

  /** What it holds and may go on with. */
  get assigned(): readonly TopicPartition[] {
    return this.#member.assigned;
  }

  /** What it is to give up. */
  get revoked(): readonly TopicPartition[] {
    return this.#member.revoked;
  }

  /** The group's offset in a partition. */
  committed({ topic, partition }: TopicPartition): number | undefined {
    return this.#member.committed(topic, partition);
  }

  /** It has called: its session begins anew, unless a request of it waits here. */
  called(): void {
    if (this.#answer !== undefined) return;
    this.#session.cancel();
    this.#session = this.#await();
  }

  /** Resolves when its epoch is another than `epoch`, or the time is over. Of several requests only the newest waits. Rejects when the
   *  member is put out meanwhile. @param gone tells when the requester went away */
  async news(epoch: number, waitMs: number, gone: AbortSignal): Promise<void> {
    this.#answer?.();
    if (epoch === this.epoch && waitMs > 0) await this.#newsWithin(waitMs, gone);
    if (this.#ended !== undefined) throw this.#ended;
  }

  #newsWithin(waitMs: number, gone: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const answer = (): void => {
        timer.cancel();
        gone.removeEventListener('abort', answer);
        this.#answer = undefined;
        if (this.#ended === undefined) this.called();
        resolve();
      };
      this.#session.cancel();
      this.#answer = answer;
      gone.addEventListener('abort', answer);
      const timer = this.#clock.after(waitMs, answer);
    });
  }

  /** Throws `fenced` unless it has held these partitions all the time since it knew of `epoch`. */
  check(epoch: number, partitions: readonly TopicPartition[]): void {
    for (const one of partitions) {
      const since = this.#since.get(nameOf(one));
      const which = `partition ${one.partition} of '${one.topic}'`;
      if (since === undefined) throw new CoreError('fenced', `${which} is not held by '${this.id}'`);
      if (epoch < since || epoch > this.epoch) {
        const held = `'${this.id}' holds ${which} since epoch ${since} and is in epoch ${this.epoch}`;
        throw new CoreError('fenced', `epoch ${epoch}: ${held}`);
      }
    }
  }

  /** Write offsets down; resolves when they are on disk. Throws `fenced`, and as `GroupMember.commit`. */
  commit(epoch: number, offsets: readonly OffsetCommit[]): Promise<void> {
    this.check(epoch, offsets);
    return new Promise((resolve) => this.#member.commit(offsets, resolve));
  }

  /** Give up what was asked back. */
  release(partitions: readonly TopicPartition[] = this.revoked): void {
    const asked = new Set(this.revoked.map(nameOf));
    for (const name of partitions.map(nameOf)) if (asked.has(name)) this.#since.delete(name);
    this.#member.release(partitions);
  }

  /** Leave the group. @param reason what a request that waits is told */
  leave(reason: ErrorCode): void {
    this.#member.leave();
    this.#end(new CoreError(reason, `'${this.id}' has left group '${this.group}'`));
  }

  #await(): Timer {
    return this.#clock.after(this.sessionMs, () => this.leave('fenced'));
  }

  #end(reason: CoreError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#session.cancel();
    this.#answer?.();
    this.#gone(this);
  }
}

/** All of them. */
export class Memberships {
  readonly #clients: HttpClients;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #all = new Map<string, Membership>();

  constructor(clients: HttpClients, clock: Clock, limits: Limits) {
    this.#clients = clients;
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * Become a member; resolves when the group has dealt its partitions out. The member keeps its own use of `owner`.
   * Rejects as `Client.joinGroup` throws, and with `limit-exceeded`.
   * @param name begins its id
   */
  async join(owner: HttpClient, name: string, request: JoinRequest): Promise<Membership> {
    const { httpMembersMax } = this.#limits;
    if (this.#all.size >= httpMembersMax) {
      throw new CoreError('limit-exceeded', `${httpMembersMax} members of consumer groups`);
    }
    const options = { ...request.options, memberName: `${name}-${randomBytes(ID_BYTES).toString('base64url')}` };
    const membership = new Membership(owner, { ...request, options }, this.#clock, (gone) => this.#forget(gone));
    this.#all.set(membership.id, membership);
    owner.uses++;
    await new Promise<void>((resolve) => this.#clock.soon(resolve));
    return membership;
  }

  /** A member of the user's own; its session begins anew. Throws `fenced` when it is there no more. */
  find(owner: HttpClient, group: string, id: string): Membership {
    const membership = this.#all.get(id);
    if (membership === undefined || membership.owner !== owner || membership.group !== group) {
      throw new CoreError('fenced', `'${id}' is no member of group '${group}', or is so no more`);
    }
    membership.called();
    return membership;
  }

  /** All leave. */
  close(): void {
    for (const membership of [...this.#all.values()]) membership.leave('stopping');
  }

  #forget(membership: Membership): void {
    this.#all.delete(membership.id);
    this.#clients.release(membership.owner);
  }
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${partition}:${topic}`;
}
