/** Names that peers and operators give to things. */
import { CoreError } from './errors.ts';
import type { Limits } from './limits.ts';

/** Throws `invalid-argument` for a name that cannot be. @param what is named, for the error */
export function checkName(name: string, what: string, { nameBytesMax }: Pick<Limits, 'nameBytesMax'>): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) throw new CoreError('invalid-argument', `the name of a ${what} is empty`);
  if (bytes > nameBytesMax)
    throw new CoreError('invalid-argument', `the name of a ${what} has ${bytes} bytes; ${nameBytesMax} are allowed`);
}
