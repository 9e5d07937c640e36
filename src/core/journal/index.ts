/** The journal's own door: what the core, the command line and tests take from this folder. */

export type { InspectOptions } from './inspect.ts';
export { inspect } from './inspect.ts';
export type * from './journal.ts';
export { NodeDisk } from './node-disk.ts';
export type { JournalOptions } from './open-journal.ts';
export { openJournal } from './open-journal.ts';
export type { RecoveryRemedy } from './recovery.ts';
