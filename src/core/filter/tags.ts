/** Tag filters: the tags a subscriber wants, `orders || refunds`. A message has at most one tag. */

import { CoreError } from '../errors.ts';
import type { HubValue } from '../message.ts';
import { EveryMessage, type Filter, type FilterLimits, type FilterSource } from './filter.ts';
import { checkFilterBytes, filterMistake } from './mistake.ts';

/** The application property that holds a message's tag. */
const TAG_NAME = 'TAGS';
const EVERY_TAG = '*';
const BETWEEN_TAGS = '||';

/**
 * Compile a list of tags with `||` between them. Blanks around a tag do not count. A blank text, or `*` as one of the tags, takes every
 * message, those without a tag as well.
 *
 * @param name where the tag is, unless in the application property TAGS
 * @throws CoreError `invalid-argument` (an empty tag), `limit-exceeded`
 */
export function tagFilter(text: string, limits: FilterLimits, name: string = TAG_NAME): Filter {
  checkFilterBytes(text, limits.filterBytesMax);
  if (text.trim() === '') return new EveryMessage(text);
  const tags = new Set<HubValue | undefined>();
  let at = 0;
  for (const part of text.split(BETWEEN_TAGS)) {
    const tag = part.trim();
    if (tag === '') throw filterMistake(text, at, 'expected a tag');
    tags.add(tag);
    at += part.length + BETWEEN_TAGS.length;
  }
  if (tags.size > limits.filterNodesMax) {
    throw new CoreError(
      'limit-exceeded',
      `more than limits.filterNodesMax = ${limits.filterNodesMax} tags in a filter`,
    );
  }
  return tags.has(EVERY_TAG) ? new EveryMessage(text) : new TagFilter(text, name, tags);
}

class TagFilter implements Filter {
  readonly text: string;
  readonly names: readonly string[];
  readonly #name: string;
  /** Texts; the type lets anything be asked for. */
  readonly #tags: ReadonlySet<HubValue | undefined>;

  constructor(text: string, name: string, tags: ReadonlySet<HubValue | undefined>) {
    this.text = text;
    this.names = [name];
    this.#name = name;
    this.#tags = tags;
  }

  matches(source: FilterSource): boolean {
    return this.#tags.has(source.value(this.#name));
  }
}
