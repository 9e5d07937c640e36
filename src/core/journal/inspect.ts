import type { Disk } from '../disk.ts';

export interface InspectOptions {
  /** Read every batch, cold block and checkpoint chunk and verify its checksum. */
  readonly verify?: boolean;
}

/** Describe a data directory, line by line. Offline and read-only: takes no lock, changes nothing. */
export async function* inspect(_disk: Disk, _options: InspectOptions = {}): AsyncGenerator<string, boolean> {
  yield '';
  return true;
}
