/**
 * A set in the order of arrival that can be read over many turns as it was at one moment, while it changes: a checkpoint of a
 * million objects must not hold anybody up. What is taken out meanwhile keeps its place until the reading is over.
 */
import { strict as assert } from 'node:assert';

/** An item carries its own links: a place costs two words and no object. They are the roster's business. */
export interface Rostered<T> {
  older: T | undefined;
  newer: T | undefined;
}

/** What was in a roster at one moment. `end` must be run to its end, in steps when there may be much to tidy up. */
export interface Moment<T> extends Iterable<T> {
  end(): Generator<void, void, undefined>;
}

export class Roster<T extends Rostered<T>> implements Iterable<T> {
  #oldest: T | undefined;
  #newest: T | undefined;
  #isRead = false;
  /** Taken out while a moment is being read. */
  readonly #gone = new Set<T>();

  add(item: T): void {
    item.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = item;
    else this.#newest.newer = item;
    this.#newest = item;
  }

  /** Take out an item that is in it. */
  remove(item: T): void {
    if (this.#isRead) this.#gone.add(item);
    else this.#unlink(item);
  }

  /** What is in it, the oldest first. It must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let item = this.#oldest; item !== undefined; item = item.newer) if (!this.#gone.has(item)) yield item;
  }

  /** Hold on to what is in it now. One at a time. */
  moment(): Moment<T> {
    assert(!this.#isRead, 'one moment at a time');
    this.#isRead = true;
    const oldest = this.#oldest;
    const newest = this.#newest;
    return {
      *[Symbol.iterator]() {
        for (let item = oldest; item !== undefined; item = item === newest ? undefined : item.newer) yield item;
      },
      end: () => this.#end(),
    };
  }

  *#end(): Generator<void, void, undefined> {
    let done = 0;
    // More may be taken out between the steps.
    for (const item of this.#gone) {
      this.#gone.delete(item);
      this.#unlink(item);
      if ((++done & 255) === 0) yield;
    }
    this.#isRead = false;
  }

  #unlink(item: T): void {
    const { older, newer } = item;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    // An item somebody still holds must not hold its neighbours.
    item.older = undefined;
    item.newer = undefined;
  }
}
