/**
 * Retained last values of one exchange: the newest value of each key, found by pattern. A trie over levels, so that a
 * pattern with a literal level looks at one branch only. What a value is, is the caller's business.
 */
import type { Pattern, RoutingKey } from '../message.ts';

/** One retained value. `sequence` grows with every `set`: its order is the order of arrival. */
export interface RetainedEntry<V> {
  readonly key: RoutingKey;
  readonly value: V;
  readonly sequence: number;
}

export class RetainedIndex<V> {
  constructor(entriesMax: number) {
    void entriesMax;
  }

  get size(): number {
    return 0;
  }

  /** Keep `value` for `key`; answers the value it replaces. Throws CoreError `limit-exceeded` when the key is new and
   *  the index is full. */
  set(key: RoutingKey, value: V): V | undefined {
    void key;
    void value;
    return undefined;
  }

  get(key: RoutingKey): V | undefined {
    void key;
    return undefined;
  }

  /** Forget a key; answers the value it had. */
  delete(key: RoutingKey): V | undefined {
    void key;
    return undefined;
  }

  /** Every entry that matches, oldest first. */
  match(pattern: Pattern): RetainedEntry<V>[] {
    void pattern;
    return [];
  }

  /** Every entry, oldest first. */
  all(): RetainedEntry<V>[] {
    return [];
  }

  clear(): void {}
}
