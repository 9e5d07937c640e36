/**
 * Retained last values of one exchange: the newest value of each key, found by pattern. A trie over levels, so that a
 * pattern with a literal level looks at one branch only. What a value is, is the caller's business.
 */
import { CoreError } from '../errors.ts';
import { ANY_MANY, ANY_ONE, type Pattern, type PatternLevel, type RoutingKey } from '../message.ts';
import { type Moment, Roster, type Rostered } from '../roster.ts';
import { LevelNode } from './level-node.ts';
import { enter, startsWithDollar, startsWithWildcard } from './pattern.ts';

/** One retained value. It does not change: a new value of its key is a new entry. */
export interface RetainedEntry<V> {
  readonly key: RoutingKey;
  readonly value: V;
  /** Grows with every `set`: the order of arrival. */
  readonly sequence: number;
}

/** An entry with its neighbours in the order of arrival. */
class Linked<V> implements RetainedEntry<V>, Rostered<Linked<V>> {
  readonly key: RoutingKey;
  readonly value: V;
  readonly sequence: number;
  older: Linked<V> | undefined;
  newer: Linked<V> | undefined;
  matched = false;

  constructor(key: RoutingKey, value: V, sequence: number) {
    this.key = key;
    this.value = value;
    this.sequence = sequence;
  }
}

class RetainedNode<V> extends LevelNode<RetainedNode<V>> {
  entry: Linked<V> | undefined;
}

/** Up to this share of all entries a match is sorted; a larger one is read off the list of all of them. */
const SORTED_SHARE = 1 / 16;

export class RetainedIndex<V> {
  readonly #entriesMax: number;
  #root = new RetainedNode<V>();
  #entries = new Roster<Linked<V>>();
  #size = 0;
  #sequence = 0;

  /** @param entriesMax keys it holds at most (`retainedPerExchangeMax`) */
  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#size;
  }

  /** Keep `value` for the levels of `key`; answers the value it replaces. Throws CoreError `limit-exceeded` when the key
   *  is new and the index is full. */
  set(key: RoutingKey, value: V): V | undefined {
    let node: RetainedNode<V> | undefined = this.#find(key);
    if (node?.entry === undefined) {
      if (this.#size >= this.#entriesMax) {
        throw new CoreError('limit-exceeded', `${this.#entriesMax} retained last values are kept on this exchange`);
      }
      node = this.#findOrMake(key);
      this.#size++;
    }
    const before = node.entry;
    if (before !== undefined) this.#entries.remove(before);
    node.entry = new Linked(key, value, ++this.#sequence);
    this.#entries.add(node.entry);
    return before?.value;
  }

  get(key: RoutingKey): V | undefined {
    return this.#find(key)?.entry?.value;
  }

  /** Forget a key; answers the value it had. */
  delete(key: RoutingKey): V | undefined {
    const way = [this.#root];
    for (const [depth, level] of key.levels.entries()) {
      const node = (way[depth] as RetainedNode<V>).child(level);
      if (node === undefined) return undefined;
      way.push(node);
    }
    const last = way[key.levels.length] as RetainedNode<V>;
    const entry = last.entry;
    if (entry === undefined) return undefined;
    last.entry = undefined;
    this.#entries.remove(entry);
    this.#size--;
    for (let depth = way.length - 1; depth > 0; depth--) {
      const node = way[depth] as RetainedNode<V>;
      if (node.entry !== undefined || !node.childless) break;
      (way[depth - 1] as RetainedNode<V>).disown(key.levels[depth - 1] as string);
    }
    return entry.value;
  }

  /** Every entry that matches, oldest first. */
  match(pattern: Pattern): RetainedEntry<V>[] {
    if (pattern.levels.length === 1 && pattern.levels[0] === ANY_MANY) return this.#visible(pattern.hidesDollar);
    const found: Linked<V>[] = [];
    const hidden = pattern.hidesDollar && startsWithWildcard(pattern);
    const start = new Set<number>();
    enter(pattern.levels, 0, start);
    search(this.#root, pattern.levels, start, (entry) => {
      if (!(hidden && startsWithDollar(entry.key.levels))) found.push(entry);
    });
    if (found.length <= this.#size * SORTED_SHARE) return found.sort((a, b) => a.sequence - b.sequence);
    return this.#inOrder(found);
  }

  /** Every entry, oldest first. */
  all(): RetainedEntry<V>[] {
    return [...this.#entries];
  }

  /** Every entry of this moment, to be read over many turns. */
  moment(): Moment<RetainedEntry<V>> {
    return this.#entries.moment();
  }

  clear(): void {
    this.#root = new RetainedNode<V>();
    this.#entries = new Roster<Linked<V>>();
    this.#size = 0;
  }

  #find(key: RoutingKey): RetainedNode<V> | undefined {
    let node: RetainedNode<V> | undefined = this.#root;
    for (const level of key.levels) {
      node = node.child(level);
      if (node === undefined) return undefined;
    }
    return node;
  }

  #findOrMake(key: RoutingKey): RetainedNode<V> {
    let node = this.#root;
    for (const level of key.levels) {
      let next = node.child(level);
      if (next === undefined) {
        next = new RetainedNode<V>();
        node.adopt(level, next);
      }
      node = next;
    }
    return node;
  }

  /** What `#` matches: everything, read off the list. */
  #visible(hidesDollar: boolean): RetainedEntry<V>[] {
    const all = this.all();
    return hidesDollar ? all.filter((entry) => !startsWithDollar(entry.key.levels)) : all;
  }

  /** The same entries, oldest first, without sorting them. */
  #inOrder(found: Linked<V>[]): Linked<V>[] {
    for (const entry of found) entry.matched = true;
    let count = 0;
    for (const entry of this.#entries) {
      if (!entry.matched) continue;
      entry.matched = false;
      found[count++] = entry;
    }
    return found;
  }
}

/**
 * Give `found` every entry at or below a node that the rest of a pattern matches. `positions` are the places in the pattern
 * the way to the node can have led to: all are followed at once, so every node is looked at once. As deep as the longest key.
 */
function search<V>(
  node: RetainedNode<V>,
  pattern: readonly PatternLevel[],
  positions: ReadonlySet<number>,
  found: (entry: Linked<V>) => void,
): void {
  if (positions.has(pattern.length - 1) && pattern[pattern.length - 1] === ANY_MANY) {
    searchAll(node, found);
    return;
  }
  if (node.entry !== undefined && positions.has(pattern.length)) found(node.entry);
  let anyLevel = false;
  for (const at of positions) if (typeof pattern[at] === 'symbol') anyLevel = true;
  if (anyLevel) {
    node.eachChild((child, level) => {
      descend(child, level, pattern, positions, found);
    });
    return;
  }
  for (const at of positions) {
    const level = pattern[at];
    // Without wildcards there is one position that goes on: `enter` adds more only behind an ANY_MANY.
    const child = typeof level === 'string' ? node.child(level) : undefined;
    if (child !== undefined) descend(child, level as string, pattern, positions, found);
  }
}

/** Give `found` every entry at or below a node. */
function searchAll<V>(node: RetainedNode<V>, found: (entry: Linked<V>) => void): void {
  if (node.entry !== undefined) found(node.entry);
  node.eachChild((child) => searchAll(child, found));
}

function descend<V>(
  child: RetainedNode<V>,
  level: string,
  pattern: readonly PatternLevel[],
  positions: ReadonlySet<number>,
  found: (entry: Linked<V>) => void,
): void {
  const next = new Set<number>();
  for (const at of positions) {
    const wanted = pattern[at];
    if (wanted === ANY_MANY) enter(pattern, at, next);
    else if (wanted === ANY_ONE || wanted === level) enter(pattern, at + 1, next);
  }
  if (next.size > 0) search(child, pattern, next, found);
}
