/**
 * Filters: conditions over a message's properties, in the conditional expressions of SQL-92 as Jakarta Messaging 3.1, 3.8
 * narrows them, or as a list of tags. A filter is parsed once and becomes a chain of closures. docs/filters.md is the
 * language's own page.
 */
import type { Limits } from '../limits.ts';
import type { HubValue } from '../message.ts';
import { type Condition, compileCondition, Frame } from './compile.ts';
import { parseFilter } from './parser.ts';

/** Where a filter reads a message's values: `hubSource`, or anything else that knows values by name. */
export interface FilterSource {
  /** The value of that name; undefined and null both mean that there is none. */
  value(name: string): HubValue | undefined;
}

/** A compiled filter. It keeps nothing of a message after `matches`, and may be used for any number of messages. */
export interface Filter {
  /** As the client wrote it. */
  readonly text: string;
  /** Every name the filter reads, once each, in order of appearance. */
  readonly names: readonly string[];
  /** True when the condition is true; false when it is false or unknown. Asks `source` for a name at most once. */
  matches(source: FilterSource): boolean;
}

export type FilterLimits = Pick<
  Limits,
  'filterBytesMax' | 'filterDepthMax' | 'filterNodesMax' | 'filterPatternCharsMax'
>;

/**
 * Parse and compile a condition. A blank text is no condition: it takes every message (Jakarta Messaging 3.1, 3.8.1).
 *
 * @throws CoreError `invalid-argument` with column and reason, `limit-exceeded`
 */
export function compileFilter(text: string, limits: FilterLimits): Filter {
  const parsed = parseFilter(text, limits);
  if (parsed === undefined) return new EveryMessage(text);
  const names: string[] = [];
  const condition = compileCondition(parsed, names);
  return new ConditionFilter(text, names, condition);
}

/** The filter that refuses nothing. */
export class EveryMessage implements Filter {
  readonly text: string;
  readonly names: readonly string[] = [];

  constructor(text: string) {
    this.text = text;
  }

  matches(): boolean {
    return true;
  }
}

class ConditionFilter implements Filter {
  readonly text: string;
  readonly names: readonly string[];
  readonly #condition: Condition;
  readonly #frame: Frame;

  constructor(text: string, names: readonly string[], condition: Condition) {
    this.text = text;
    this.names = names;
    this.#condition = condition;
    this.#frame = new Frame(names);
  }

  matches(source: FilterSource): boolean {
    this.#frame.source = source;
    try {
      return this.#condition(this.#frame) === true;
    } finally {
      this.#frame.clear();
    }
  }
}
