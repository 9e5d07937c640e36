/**
 * A share group: any number of consumers take messages of all partitions of a topic as if they were a queue. Each message is
 * handed to one of them, and comes back when it is released or not settled in time. The topic keeps it all the same.
 */
import type { ShareDeadLetter, ShareGroupInfo } from '../../door.ts';
import type { ErrorCode } from '../../errors.ts';
import type { Topic } from '../topic.ts';
import type { Topics } from '../topics.ts';
import { ShareDeadLetters } from './dead-letters.ts';
import type { SharePart } from './part.ts';
import type { ShareSubscription } from './subscription.ts';

export class ShareGroup {
  readonly topic: Topic;
  readonly name: string;
  /** By number of the partition. */
  parts: readonly SharePart[] = [];
  readonly subscriptions = new Set<ShareSubscription>();
  /** Where what it gives up goes; undefined: nowhere. */
  deadLetters: ShareDeadLetters | undefined;
  /** The part that is asked next. */
  #turn = 0;
  /** Parts that show bytes valid for this turn only. */
  #showing: SharePart[] = [];

  constructor(topic: Topic, name: string) {
    this.topic = topic;
    this.name = name;
  }

  /** There may be something for consumers with credit. */
  wake(): void {
    for (const subscription of this.subscriptions) if (subscription.hungry) this.topic.vhost.engine.wake(subscription);
  }

  /** A consumer has had its turn: hold on to no bytes that are good for this turn only, or many. */
  endTurn(): void {
    if (this.#showing.length === 0) return;
    for (const part of this.#showing) part.forgetBytes();
    this.#showing = [];
  }

  showing(part: SharePart): void {
    if (!this.#showing.includes(part)) this.#showing.push(part);
  }

  /** The part that has handed out a message; undefined when none has one for now. Each in turn. */
  take(): SharePart | undefined {
    const { parts } = this;
    for (let n = 0; n < parts.length; n++) {
      const part = parts[this.#turn % parts.length] as SharePart;
      if (part.take() >= 0) return part;
      this.#turn++;
    }
    return undefined;
  }

  /** Something is being read: there will be more. */
  get loading(): boolean {
    return this.parts.some((part) => part.loading);
  }

  /** Have what is given up go there. What is on its way and has not arrived goes there too, or is done. */
  setDeadLetter(topics: Topics, rule: ShareDeadLetter | undefined): void {
    const before = this.deadLetters?.close() ?? [];
    this.deadLetters = rule === undefined ? undefined : new ShareDeadLetters(topics, this.topic, rule);
    for (const { part, offset, reason } of before) {
      if (this.deadLetters === undefined) part.gone([offset]);
      else this.deadLetters.add(part, offset, reason);
    }
  }

  /** The group or its topic is deleted. */
  end(reason: ErrorCode): void {
    for (const subscription of [...this.subscriptions]) subscription.end(reason);
  }

  info(): ShareGroupInfo {
    return {
      topic: this.topic.name,
      name: this.name,
      consumers: this.subscriptions.size,
      ...(this.deadLetters === undefined ? {} : { deadLetter: this.deadLetters.rule }),
      deadLettered: this.deadLetters?.count ?? 0,
      partitions: this.parts.map(({ partition, start, next, held, leaving, open }) => ({
        partition: partition.number,
        ...{ start, next, held },
        returned: open - held - leaving,
        leaving,
        lag: Math.max(0, partition.durableEnd - next) + open,
      })),
    };
  }
}
