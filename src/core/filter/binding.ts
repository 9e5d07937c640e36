/** The filter of a binding: what its arguments ask of a message beyond its key (docs/filters.md "Where filters apply"). */
import { type Arguments, FILTER_ARGUMENT, FILTER_TAGS_ARGUMENT } from '../door.ts';
import { CoreError } from '../errors.ts';
import { compileFilter, EveryMessage, type Filter, type FilterLimits, type FilterSource } from './filter.ts';
import { tagFilter } from './tags.ts';

/** What was accepted once stays accepted, whatever the limits are when it is read back. */
export const NO_FILTER_LIMITS: FilterLimits = {
  filterBytesMax: Number.POSITIVE_INFINITY,
  filterDepthMax: Number.POSITIVE_INFINITY,
  filterNodesMax: Number.POSITIVE_INFINITY,
  filterPatternCharsMax: Number.POSITIVE_INFINITY,
};

export class BindingFilter {
  /** Equal for filters that let the same messages pass because they were written the same. */
  readonly identity: string;
  readonly #parts: readonly Filter[];

  constructor(identity: string, parts: readonly Filter[]) {
    this.identity = identity;
    this.#parts = parts;
  }

  /** Its parts, as they were written: tags, then the condition. */
  get texts(): string[] {
    return this.#parts.map(({ text }) => text);
  }

  matches(source: FilterSource): boolean {
    for (const part of this.#parts) if (!part.matches(source)) return false;
    return true;
  }
}

/**
 * The filter that a binding's arguments ask for; undefined when they let every message pass.
 *
 * @throws CoreError `invalid-argument` with column and reason, `limit-exceeded`
 */
export function bindingFilter(args: Arguments, limits: FilterLimits): BindingFilter | undefined {
  const tags = textOf(args, FILTER_TAGS_ARGUMENT);
  const condition = textOf(args, FILTER_ARGUMENT);
  if (tags === undefined && condition === undefined) return undefined;
  // The tags first: they cost less.
  const parts: Filter[] = [];
  if (tags !== undefined) parts.push(tagFilter(tags, limits));
  if (condition !== undefined) parts.push(compileFilter(condition, limits));
  const asking = parts.filter((part) => !(part instanceof EveryMessage));
  return asking.length === 0 ? undefined : new BindingFilter(JSON.stringify([tags, condition]), asking);
}

function textOf(args: Arguments, name: string): string | undefined {
  const value = args[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw new CoreError('invalid-argument', `${name} must be text`);
  // Half a surrogate pair has no form on disk: the filter would be another one after a restart.
  if (/\p{Surrogate}/u.test(value)) throw new CoreError('invalid-argument', `${name} is not plain Unicode text`);
  return value;
}
