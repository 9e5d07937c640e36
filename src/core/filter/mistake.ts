/** How a filter that cannot be used is refused. */
import { CoreError } from '../errors.ts';

/**
 * An error for the caller to throw.
 *
 * @param at index in `text` of what is wrong; the error counts characters from 1
 */
export function filterMistake(
  text: string,
  at: number,
  reason: string,
  code: 'invalid-argument' | 'limit-exceeded' = 'invalid-argument',
): CoreError {
  const column = [...text.slice(0, at)].length + 1;
  return new CoreError(code, `filter, column ${column}: ${reason}`);
}

/** @throws CoreError `limit-exceeded`, before anything of the text is looked at */
export function checkFilterBytes(text: string, filterBytesMax: number): void {
  // A character has at least one byte, so a huge text is refused without encoding it.
  const bytes = text.length > filterBytesMax ? text.length : Buffer.byteLength(text, 'utf8');
  if (bytes > filterBytesMax) {
    throw new CoreError('limit-exceeded', `a filter of more than limits.filterBytesMax = ${filterBytesMax} bytes`);
  }
}
