/**
 * The disk, as the core sees it: what the journal needs and no more. The real one is `NodeDisk` (journal/node-disk.ts);
 * the simulation has one with torn writes, lying syncs and a bound on space (testing/sim-disk.ts). Paths are relative to
 * the data directory the disk was opened on, with `/` between names.
 */
export interface Disk {
  /** Open a file. `create` makes a new empty one (and fails with EEXIST if it is there); `read` opens an existing one
   *  read-only; `write` opens an existing one for reading and writing. */
  open(path: string, mode: 'create' | 'read' | 'write'): Promise<DiskFile>;
  /** Names in a folder, unsorted; an empty list when the folder is missing. */
  list(folder: string): Promise<string[]>;
  /** Make a folder and its parents; no error when it exists. */
  makeFolder(folder: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Remove a file; no error when it is missing. */
  remove(path: string): Promise<void>;
  /** Make the names in a folder durable (fsync of the directory). */
  syncFolder(folder: string): Promise<void>;
  /** Bytes free for us on the file system. */
  freeBytes(): Promise<number>;
  /** Take the data directory for this process alone. Rejects with CoreError `data-dir-locked` when another process has it. */
  lock(): Promise<void>;
  /** Give the lock back. */
  unlock(): Promise<void>;
}

export interface DiskFile {
  /** Write all of `bytes[start, end)` at `position`. Rejects on any error or short write that cannot be completed. */
  write(bytes: Uint8Array, start: number, end: number, position: number): Promise<void>;
  /** Make written data durable (fdatasync). A rejection is final: the journal stops the process. */
  sync(): Promise<void>;
  /** Read into `into[start, end)` from `position`; resolves to the count of bytes read (short only at the end of file). */
  read(into: Uint8Array, start: number, end: number, position: number): Promise<number>;
  /** Size in bytes. */
  size(): Promise<number>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}
