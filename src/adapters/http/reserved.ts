/** Names that the broker keeps for its own objects. */
import { CoreError } from '../../core/index.ts';

const PREFIX = 'amq.';

/** Throws `access-refused` when `name` is that of nobody's object but the broker's. */
export function refuseReserved(name: string): void {
  if (name.startsWith(PREFIX)) throw new CoreError('access-refused', `${name}: names of ${PREFIX}* are reserved`);
}
