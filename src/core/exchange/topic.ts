import { ANY_MANY, ANY_ONE, type Pattern, type PatternLevel, type RoutingKey } from '../message.ts';
import { type Bag, bagAdd, bagHas, bagInto, bagRemove } from './bag.ts';
import type { Bound, ExchangeKind, HeaderSource } from './exchange.ts';
import { LevelNode } from './level-node.ts';
import { startsWithDollar, startsWithWildcard } from './pattern.ts';

/** A place in the patterns: what was read of them up to here is the way to the node. */
class TopicNode<B extends object> extends LevelNode<TopicNode<B>> {
  /** The way on through `ANY_ONE`. */
  one: TopicNode<B> | undefined;
  /** The way on through `ANY_MANY`. */
  many: TopicNode<B> | undefined;
  /** The bindings whose pattern ends here. */
  here: Bag<B>;
  /** Of an `ANY_MANY` node: the match that is running has reached it. */
  reached = false;

  get empty(): boolean {
    return this.here === undefined && this.one === undefined && this.many === undefined && this.childless;
  }

  next(level: PatternLevel): TopicNode<B> | undefined {
    if (level === ANY_ONE) return this.one;
    if (level === ANY_MANY) return this.many;
    return this.child(level);
  }

  nextOrNew(level: PatternLevel): TopicNode<B> {
    let node = this.next(level);
    if (node !== undefined) return node;
    node = new TopicNode<B>();
    if (level === ANY_ONE) this.one = node;
    else if (level === ANY_MANY) this.many = node;
    else this.adopt(level, node);
    return node;
  }

  drop(level: PatternLevel): void {
    if (level === ANY_ONE) this.one = undefined;
    else if (level === ANY_MANY) this.many = undefined;
    else this.disown(level);
  }
}

/**
 * Topic: a message takes the bindings whose pattern matches the levels of its key (AMQP 0-9-1, 3.1.3.3; MQTT 3.1.1, 4.7).
 *
 * The patterns form a trie, and a key walks all its ways at once, level by level. A node is entered from its one parent, so a
 * step enters it once; only an `ANY_MANY` node could be entered again, for it stays once it is reached. So those live in a
 * list of their own that only grows during a match. No way is walked twice and no binding found twice, however many `#`
 * there are: the work is at most levels x nodes on matching ways.
 */
export class TopicExchange<B extends Bound> implements ExchangeKind<B> {
  readonly usesHeaders = false;
  readonly #root = new TopicNode<B>();
  #size = 0;
  // Kept between matches, empty, so that a match allocates nothing.
  #now: TopicNode<B>[] = [];
  #after: TopicNode<B>[] = [];
  readonly #many: TopicNode<B>[] = [];

  get size(): number {
    return this.#size;
  }

  add(binding: B): void {
    let node = this.#root;
    for (const level of plainLevels(binding.pattern)) node = node.nextOrNew(level);
    node.here = bagAdd(node.here, binding);
    this.#size++;
  }

  remove(binding: B): boolean {
    const levels = plainLevels(binding.pattern);
    const way = [this.#root];
    for (const [depth, level] of levels.entries()) {
      const node = (way[depth] as TopicNode<B>).next(level);
      if (node === undefined) return false;
      way.push(node);
    }
    const last = way[levels.length] as TopicNode<B>;
    if (!bagHas(last.here, binding)) return false;
    last.here = bagRemove(last.here, binding);
    this.#size--;
    for (let depth = levels.length; depth > 0 && (way[depth] as TopicNode<B>).empty; depth--) {
      (way[depth - 1] as TopicNode<B>).drop(levels[depth - 1] as PatternLevel);
    }
    return true;
  }

  match(key: RoutingKey, _headers: HeaderSource | undefined, out: B[]): void {
    const many = this.#many;
    this.#reach(this.#root, this.#now);
    for (const level of key.levels) {
      // Those reached by this level must not read it too.
      const manyBefore = many.length;
      for (const node of this.#now) this.#step(node, level);
      for (let at = 0; at < manyBefore; at++) this.#step(many[at] as TopicNode<B>, level);
      const read = this.#now;
      this.#now = this.#after;
      this.#after = read;
      read.length = 0;
    }
    const found = out.length;
    for (const node of this.#now) bagInto(node.here, out);
    for (const node of many) {
      bagInto(node.here, out);
      node.reached = false;
    }
    this.#now.length = 0;
    many.length = 0;
    if (startsWithDollar(key.levels)) dropHidden(out, found);
  }

  all(): B[] {
    const out: B[] = [];
    collect(this.#root, out);
    return out;
  }

  /** Go on from a node by one level. */
  #step(node: TopicNode<B>, level: string): void {
    const child = node.child(level);
    if (child !== undefined) this.#reach(child, this.#after);
    if (node.one !== undefined) this.#reach(node.one, this.#after);
  }

  /** Enter a node, and the one behind it that needs no level. */
  #reach(node: TopicNode<B>, into: TopicNode<B>[]): void {
    into.push(node);
    const many = node.many;
    if (many === undefined || many.reached) return;
    many.reached = true;
    this.#many.push(many);
  }
}

/** The levels with `ANY_MANY` never twice in a row: it means the same, and a node after it never has one. */
function plainLevels(pattern: Pattern): readonly PatternLevel[] {
  const { levels } = pattern;
  for (let at = 1; at < levels.length; at++) {
    if (levels[at] === ANY_MANY && levels[at - 1] === ANY_MANY) {
      return levels.filter((level, index) => level !== ANY_MANY || levels[index - 1] !== ANY_MANY);
    }
  }
  return levels;
}

/** Take out of `out`, from `from` on, the bindings whose leading wildcard does not see keys that start with `$`. */
function dropHidden<B extends Bound>(out: B[], from: number): void {
  let kept = from;
  for (let at = from; at < out.length; at++) {
    const binding = out[at] as B;
    if (binding.pattern.hidesDollar && startsWithWildcard(binding.pattern)) continue;
    out[kept++] = binding;
  }
  out.length = kept;
}

/** Every binding at and below a node. As deep as the longest pattern, which is bounded (`routingKeyLevelsMax`). */
function collect<B extends object>(node: TopicNode<B>, out: B[]): void {
  bagInto(node.here, out);
  if (node.one !== undefined) collect(node.one, out);
  if (node.many !== undefined) collect(node.many, out);
  node.eachChild((child) => collect(child, out));
}
