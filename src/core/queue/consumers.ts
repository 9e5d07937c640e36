/**
 * The consumers of a queue: the highest priority first, as long as one of that level can take; inside a level one after the
 * other.
 */
import type { Subscription } from '../subscription.ts';

interface Level {
  readonly priority: number;
  readonly members: Subscription[];
  /** Whose turn it is. */
  next: number;
}

export class Consumers {
  readonly #levels: Level[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(subscription: Subscription): void {
    const { priority } = subscription;
    let at = this.#levels.findIndex((level) => level.priority <= priority);
    if (at < 0) at = this.#levels.length;
    if (this.#levels[at]?.priority !== priority) this.#levels.splice(at, 0, { priority, members: [], next: 0 });
    this.#levels[at]?.members.push(subscription);
    this.#count++;
  }

  /** Answers whether it was one of them. */
  remove(subscription: Subscription): boolean {
    const at = this.#levels.findIndex((level) => level.priority === subscription.priority);
    const level = this.#levels[at];
    const place = level?.members.indexOf(subscription) ?? -1;
    if (level === undefined || place < 0) return false;
    level.members.splice(place, 1);
    if (place < level.next) level.next--;
    if (level.members.length === 0) this.#levels.splice(at, 1);
    this.#count--;
    return true;
  }

  /** The consumer to serve next, or undefined when none can take. */
  pick(): Subscription | undefined {
    for (const level of this.#levels) {
      const { members } = level;
      for (let tried = 0; tried < members.length; tried++) {
        if (level.next >= members.length) level.next = 0;
        const subscription = members[level.next++] as Subscription;
        if (subscription.canTake) return subscription;
      }
    }
    return undefined;
  }

  all(): Subscription[] {
    return this.#levels.flatMap((level) => level.members);
  }
}
