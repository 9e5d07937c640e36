/** The policies of one virtual host, and what they make of its queues. What is kept and matched; changes of queues are elsewhere. */
import type { Arguments } from '../door.ts';
import { type Effective, effectiveOf, type NamedTable, NO_TABLE, NOTHING, type RuleTable } from './effective.ts';
import type { NamePattern } from './pattern.ts';

/** Immutable: a change of a policy is another one of its name. */
export interface Policy extends NamedTable {
  /** It caps what everybody else asks for, and is for operators. */
  readonly isOperator: boolean;
  readonly pattern: NamePattern;
  /** Of several policies that match a queue the one of the highest priority holds, alone. */
  readonly priority: number;
}

/** A queue. */
export interface Ruled {
  readonly id: number;
  readonly name: string;
  /** It, and so its live settings, survive a restart. */
  readonly logged: boolean;
  readonly settings: { readonly arguments: Arguments };
}

export class Policies {
  /** Settings made after a queue was declared, which stand in for its arguments. Tables are replaced, never changed. */
  readonly live: Map<Ruled, RuleTable>;
  /** In the order in which they are tried. */
  readonly #users: Policy[] = [];
  readonly #operators: Policy[] = [];
  /** What is in force for queues that ask for nothing themselves, by the names of their policies: there may be many of them. */
  readonly #shared = new Map<string, Effective>();

  /** @param live see there */
  constructor(live: Map<Ruled, RuleTable> = new Map()) {
    this.live = live;
  }

  all(): Iterable<Policy> {
    return [...this.#users, ...this.#operators];
  }

  list(isOperator: boolean): readonly Policy[] {
    return isOperator ? this.#operators : this.#users;
  }

  get(name: string, isOperator: boolean): Policy | undefined {
    return this.list(isOperator).find((policy) => policy.name === name);
  }

  /** Add a policy, in the place of the one of its name. */
  set(policy: Policy): void {
    this.remove(policy.name, policy.isOperator);
    const list = policy.isOperator ? this.#operators : this.#users;
    const at = list.findIndex((other) => comesBefore(policy, other));
    list.splice(at < 0 ? list.length : at, 0, policy);
  }

  remove(name: string, isOperator: boolean): void {
    const list = isOperator ? this.#operators : this.#users;
    const at = list.findIndex((policy) => policy.name === name);
    if (at >= 0) list.splice(at, 1);
    this.#shared.clear();
  }

  /** Set the live settings of a queue; none for an empty table. */
  setLive(queue: Ruled, table: RuleTable): void {
    if (isEmpty(table)) this.live.delete(queue);
    else this.live.set(queue, table);
  }

  /** What is in force for a queue. @param live in place of its live settings, to see what would be */
  effectiveFor(queue: Ruled, live: RuleTable = this.live.get(queue) ?? NO_TABLE): Effective {
    const { name, settings } = queue;
    const policy = this.#users.find(({ pattern }) => pattern.matches(name));
    const operatorPolicy = this.#operators.find(({ pattern }) => pattern.matches(name));
    const sources = { declared: settings.arguments, live, policy, operatorPolicy };
    if (!isEmpty(settings.arguments) || !isEmpty(live)) return effectiveOf(sources);
    if (policy === undefined && operatorPolicy === undefined) return NOTHING;
    const key = JSON.stringify([policy?.name, operatorPolicy?.name]);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = effectiveOf(sources);
      this.#shared.set(key, shared);
    }
    return shared;
  }

  /** These policies with changes, to see what would be: a policy to set, or to remove. */
  with(change: { readonly set: Policy } | { readonly remove: Policy }): Policies {
    const changed = new Policies(this.live);
    for (const policy of this.all()) changed.set(policy);
    if ('set' in change) changed.set(change.set);
    else changed.remove(change.remove.name, change.remove.isOperator);
    return changed;
  }
}

/** The highest priority first, then by name. */
function comesBefore(a: Policy, b: Policy): boolean {
  return a.priority > b.priority || (a.priority === b.priority && a.name < b.name);
}

function isEmpty(table: object): boolean {
  for (const _ in table) return false;
  return true;
}
