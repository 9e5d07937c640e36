/**
 * A node of a trie over levels, as the topic exchange and the retained values use it. Most nodes have one child or none, so
 * the first child is kept in the node itself and a map is made for the second.
 */
export abstract class LevelNode<N extends LevelNode<N>> {
  #level: string | undefined;
  #only: N | undefined;
  #children: Map<string, N> | undefined;

  /** The child for a level; undefined when there is none. */
  child(level: string): N | undefined {
    if (this.#children !== undefined) return this.#children.get(level);
    return this.#level === level ? this.#only : undefined;
  }

  /** Add a child for a level that has none. */
  adopt(level: string, child: N): void {
    if (this.#children !== undefined) {
      this.#children.set(level, child);
    } else if (this.#level === undefined) {
      this.#level = level;
      this.#only = child;
    } else {
      this.#children = new Map([
        [this.#level, this.#only as N],
        [level, child],
      ]);
      this.#level = undefined;
      this.#only = undefined;
    }
  }

  /** Remove the child for a level. */
  disown(level: string): void {
    if (this.#children !== undefined) {
      this.#children.delete(level);
      if (this.#children.size === 0) this.#children = undefined;
    } else if (this.#level === level) {
      this.#level = undefined;
      this.#only = undefined;
    }
  }

  get childless(): boolean {
    return this.#only === undefined && this.#children === undefined;
  }

  eachChild(visit: (child: N, level: string) => void): void {
    if (this.#children !== undefined) this.#children.forEach(visit);
    else if (this.#only !== undefined) visit(this.#only, this.#level as string);
  }
}
