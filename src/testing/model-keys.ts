/** What retained last values must be: the newest of each key; after a crash the newest that was certain, or a later one. */
import { strict as assert } from 'node:assert';

interface Key {
  /** 0 stands for none, everywhere. */
  current: number;
  /** The newest that is certain to survive, and what came after it. */
  certain: number;
  later: number[];
}

export class ModelKeys {
  readonly #keys = new Map<string, Key>();

  /** A value was published, or cleared (0). Answers what to call when that is confirmed. @param survives a restart */
  set(name: string, id: number, survives: boolean): () => void {
    const key = this.#keys.get(name) ?? { current: 0, certain: 0, later: [] };
    this.#keys.set(name, key);
    key.current = id;
    // A transient value makes a restart show none: the same as clearing.
    const left = survives ? id : 0;
    key.later.push(left);
    const { later } = key;
    return () => {
      const at = later === key.later ? later.indexOf(left) : -1;
      if (at < 0) return;
      key.certain = left;
      later.splice(0, at + 1);
    };
  }

  /** What the broker shows now. */
  check(found: ReadonlyMap<string, number>): void {
    for (const [name, { current }] of this.#keys) assert.equal(found.get(name) ?? 0, current, `last value of ${name}`);
  }

  /** What the broker shows after a restart. @param lost the disk lied: any value may be there */
  restarted(found: ReadonlyMap<string, number>, clean: boolean, lost: boolean): void {
    for (const [name, key] of this.#keys) {
      const id = found.get(name) ?? 0;
      const allowed = clean ? [key.later.at(-1) ?? key.certain] : [key.certain, ...key.later];
      assert(lost || allowed.includes(id), `last value of ${name} is ${id}; it must be one of ${allowed}`);
      key.current = id;
      key.certain = id;
      key.later = [];
    }
  }
}
