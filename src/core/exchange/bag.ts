/**
 * A few objects, most often one: the bindings at one place of an index. One object is kept as itself, some as an array, many
 * as a set, so that a million places with one binding each cost nothing extra and a place with a million can lose any one
 * of them at once.
 */
export type Bag<B extends object> = undefined | B | B[] | Set<B>;

/** Where searching an array begins to cost more than a set. */
const ARRAY_MAX = 16;

/** The bag with `item`, which is not in it yet. */
export function bagAdd<B extends object>(bag: Bag<B>, item: B): Bag<B> {
  if (bag === undefined) return item;
  if (Array.isArray(bag)) {
    if (bag.length >= ARRAY_MAX) return new Set(bag).add(item);
    bag.push(item);
    return bag;
  }
  if (bag instanceof Set) return bag.add(item);
  return [bag, item];
}

/** The bag without `item`; undefined when nothing is left. */
export function bagRemove<B extends object>(bag: Bag<B>, item: B): Bag<B> {
  if (bag === item) return undefined;
  if (Array.isArray(bag)) {
    const at = bag.indexOf(item);
    if (at >= 0) bag.splice(at, 1);
    return bag.length === 1 ? bag[0] : bag;
  }
  if (bag instanceof Set) {
    bag.delete(item);
    return bag.size === 0 ? undefined : bag;
  }
  return bag;
}

export function bagHas<B extends object>(bag: Bag<B>, item: B): boolean {
  if (Array.isArray(bag)) return bag.includes(item);
  if (bag instanceof Set) return bag.has(item);
  return bag === item;
}

/** Everything in the bag, as an array of the caller's own. */
export function bagItems<B extends object>(bag: Bag<B>): B[] {
  const items: B[] = [];
  bagInto(bag, items);
  return items;
}

/** Append everything in the bag to `out`. */
export function bagInto<B extends object>(bag: Bag<B>, out: B[]): void {
  if (bag === undefined) return;
  if (Array.isArray(bag) || bag instanceof Set) for (const item of bag) out.push(item);
  else out.push(bag);
}
