/** What a policy or the live settings of a queue may say. All throw CoreError `invalid-argument` with names and values. */
import type { Arguments } from '../door.ts';
import { CoreError } from '../errors.ts';
import { isLimit, problemOf, readRules, ruleArguments } from '../queue/rules.ts';
import { argumentOf, asArguments, type RuleTable } from './effective.ts';

/** The definition of a policy. What does not go together is seen queue by queue: arguments have a say too. */
export function checkDefinition(what: string, definition: RuleTable, isOperator: boolean): void {
  const names = Object.keys(definition);
  if (names.length === 0) refuse(what, 'says nothing; it needs at least one rule');
  for (const name of names) {
    checkRule(what, definition, name);
    if (definition[name] === null) refuse(what, `${name} must have a value; only live settings may lift a rule`);
    if (isOperator && !isLimit(argumentOf(name))) {
      refuse(what, `${name} is no limit; operators may set ${nameRules(ruleArguments().filter(isLimit))}`);
    }
  }
}

/** Live settings of a queue that was declared with `declared`. */
export function checkLive(what: string, declared: Arguments, live: RuleTable): void {
  for (const name of Object.keys(live)) checkRule(what, live, name);
  const lifted = new Set(Object.keys(live).map(argumentOf));
  const kept = Object.entries(declared).filter(([name]) => !lifted.has(name));
  const set = Object.entries(asArguments(live)).filter(([, value]) => value !== null);
  // What was declared was checked then, but not beside these.
  readRules(Object.fromEntries([...kept, ...set]), (problem) => refuse(what, problem));
}

function checkRule(what: string, table: RuleTable, name: string): void {
  const argument = argumentOf(name);
  if (!ruleArguments().includes(argument))
    refuse(what, `there is no rule '${name}'; there are ${nameRules(ruleArguments())}`);
  const value = table[name] ?? null;
  const problem = value === null ? undefined : problemOf(argument, value);
  if (problem !== undefined) refuse(what, `${name} ${problem}`);
}

function nameRules(names: readonly string[]): string {
  return names.map((name) => name.slice(argumentOf('').length)).join(', ');
}

function refuse(what: string, problem: string): never {
  throw new CoreError('invalid-argument', `${what}: ${problem}`);
}
