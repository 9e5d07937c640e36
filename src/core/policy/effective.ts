/**
 * What is in force for a queue, from all that has a say: its own arguments, its live settings, the policy and the operator
 * policy that are for it. The order of precedence is here and nowhere else (docs/policies.md "What holds").
 */
import type { Arguments } from '../door.ts';
import type { HubValue } from '../message.ts';
import { isLimit, isRule, NO_RULES, type QueueRules, readRules } from '../queue/rules.ts';

/** A table of rules by their names without `x-`, as policies and live settings have them. */
export type RuleTable = Arguments;

/** Of all that ask for nothing. */
export const NO_TABLE: RuleTable = Object.freeze({});

/** Immutable: what changes is which one a queue has. */
export interface Effective {
  readonly rules: QueueRules;
  /** The same, to be shown. */
  readonly table: RuleTable;
  /** Names of the policy and the operator policy that are for the queue. */
  readonly policy: string | undefined;
  readonly operatorPolicy: string | undefined;
  /** Rules that have no effect, and why: what is fine by itself may not go together. */
  readonly problems: readonly string[];
}

export interface NamedTable {
  readonly name: string;
  readonly definition: RuleTable;
}

export interface RuleSources {
  /** Arguments of the declaration. */
  readonly declared: Arguments;
  /** Live settings of the queue: they stand in for what was declared; null means as if it had not been. */
  readonly live: RuleTable;
  readonly policy: NamedTable | undefined;
  readonly operatorPolicy: NamedTable | undefined;
}

/** Nothing is asked for. */
export const NOTHING: Effective = Object.freeze({
  rules: NO_RULES,
  table: NO_TABLE,
  policy: undefined,
  operatorPolicy: undefined,
  problems: [],
});

const PREFIX = 'x-';

/** The argument of a rule's name. */
export function argumentOf(name: string): string {
  return PREFIX + name;
}

/** A rule table as arguments. */
export function asArguments(table: RuleTable): Arguments {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [argumentOf(name), value]));
}

/** What came of the sources of a queue, by its arguments: queues that were declared alike share them (shared-settings.ts). */
const lately = new WeakMap<Arguments, { readonly sources: RuleSources; readonly effective: Effective }>();

/** Put together what is in force. */
export function effectiveOf(sources: RuleSources): Effective {
  const { declared, live, policy, operatorPolicy } = sources;
  const last = lately.get(declared);
  const isSame =
    last?.sources.live === live && last.sources.policy === policy && last.sources.operatorPolicy === operatorPolicy;
  if (isSame) return last.effective;
  const effective = combine(sources);
  lately.set(declared, { sources, effective });
  return effective;
}

function combine({ declared, live, policy, operatorPolicy }: RuleSources): Effective {
  const all = new Map<string, HubValue>();
  for (const [name, value] of Object.entries(declared)) if (isRule(name)) all.set(name, value);
  for (const [name, value] of Object.entries(live)) {
    if (value === null) all.delete(argumentOf(name));
    else all.set(argumentOf(name), value);
  }
  fill(all, policy);
  fill(all, operatorPolicy);
  if (all.size === 0 && policy === undefined && operatorPolicy === undefined) return NOTHING;
  const problems: string[] = [];
  const rules = readRules(Object.fromEntries(all), (problem) => problems.push(problem));
  const table = Object.fromEntries([...all].map(([name, value]) => [name.slice(PREFIX.length), value]));
  return { rules, table, policy: policy?.name, operatorPolicy: operatorPolicy?.name, problems };
}

/** A policy gives what is not there yet; of a limit that is, the smaller one holds. */
function fill(all: Map<string, HubValue>, policy: NamedTable | undefined): void {
  for (const [name, value] of Object.entries(policy?.definition ?? {})) {
    const argument = argumentOf(name);
    const known = all.get(argument);
    if (known === undefined || (isLimit(argument) && magnitude(value) < magnitude(known))) all.set(argument, value);
  }
}

/** Limits below zero are none. What is no number was declared long ago and has no effect. */
function magnitude(value: HubValue): number {
  return typeof value === 'number' && value >= 0 ? value : Number.POSITIVE_INFINITY;
}
