import type { DiskFile } from '../disk.ts';
import { CoreError } from '../errors.ts';

/** A stretch of a file that can be read and verified by itself. */
export interface Extent {
  start: number;
  end: number;
}

/** A verified extent in memory. */
export interface Piece extends Extent {
  readonly source: Source;
  bytes: Buffer;
}

/** A file that bodies are read from: a log segment, or a cold one that stands for several. */
export interface Source {
  readonly path: string;
  /** Bytes of the file that are durable. */
  readonly bytes: number;
  /** A body lies in the file at its own offset. */
  readonly isLog: boolean;
  /** The smallest extent with this body; undefined when `prepare` has to find out first. Throws `journal-corrupt`. */
  extent(segment: number, offset: number, length: number): Extent | undefined;
  /** Read what `extent` needs to know for a body at `offset`. @param file this source's */
  prepare(offset: number, file: DiskFile): Promise<void>;
  /** Throws `journal-corrupt` unless all of the extent `bytes` (which starts at `start` of the file) is as it was written. */
  verify(bytes: Buffer, start: number): void;
  /** Index of the body in `piece.bytes`, or -1 when the piece does not hold it. */
  find(piece: Piece, segment: number, offset: number, length: number): number;
}

export function corrupt(path: string, detail: string): CoreError {
  return new CoreError('journal-corrupt', `${path}: ${detail}`);
}
