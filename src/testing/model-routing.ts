/** What fanout exchanges must do, in the plainest words: follow every binding, and give every queue found the message once. */
import { strict as assert } from 'node:assert';
import type { BindingInfo, BindingTarget } from '../core/index.ts';

interface Edge {
  readonly source: string;
  readonly target: BindingTarget;
  /** Both its ends survive a restart. */
  readonly survives: boolean;
}

function nameOf(source: string, target: BindingTarget): string {
  return `${source} -> ${target.kind} ${target.name}`;
}

export class ModelRouting {
  readonly #edges = new Map<string, Edge>();
  /** Changes that a failure cut off: a restart shows whether they were made. */
  readonly #uncertain = new Set<string>();

  bound(source: string, target: BindingTarget, survives: boolean): void {
    const name = nameOf(source, target);
    if (!this.#edges.has(name)) this.#edges.set(name, { source, target, survives });
  }

  unbound(source: string, target: BindingTarget): void {
    this.#edges.delete(nameOf(source, target));
  }

  /** It is not known whether the last change of this binding will survive. */
  unsure(source: string, target: BindingTarget): void {
    this.#uncertain.add(nameOf(source, target));
  }

  /** A queue is gone, and its bindings with it. */
  gone(queue: string): void {
    for (const [name, { target }] of this.#edges) {
      if (target.kind === 'queue' && target.name === queue) this.#edges.delete(name);
    }
  }

  /** Names of the queues a message gets to that is published to an exchange. */
  queuesFrom(exchange: string): string[] {
    const seen = new Set([exchange]);
    const queues = new Set<string>();
    for (const from of seen) {
      for (const { source, target } of this.#edges.values()) {
        if (source === from) (target.kind === 'queue' ? queues : seen).add(target.name);
      }
    }
    return [...queues];
  }

  /** The broker restarted and has these. @param strict everything promised must be there, and nothing else */
  restarted(found: readonly BindingInfo[], strict: boolean): void {
    const names = new Set(found.map(({ source, target }) => nameOf(source, target)));
    for (const [name, { survives }] of this.#edges) {
      if (!strict || this.#uncertain.has(name)) continue;
      assert.equal(names.has(name), survives, `binding ${name} after a restart`);
    }
    for (const name of names) {
      const isKnown = this.#edges.has(name) || this.#uncertain.has(name);
      assert(isKnown || !strict, `binding ${name} was removed and is back`);
    }
    this.#edges.clear();
    this.#uncertain.clear();
    for (const { source, target } of found) this.bound(source, target, true);
  }
}
