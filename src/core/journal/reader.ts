import type { Disk } from '../disk.ts';
import { Gate } from '../gate.ts';
import type { BodyRef, EachBody, Places } from './journal.ts';
import { OpenFiles } from './open-files.ts';
import { type Proves, ScatteredLoad, type Stretch } from './scattered.ts';
import { corrupt, type Piece, type Source } from './source.ts';
import type { TailCache } from './tail-cache.ts';

/** Reads under way at once, over all callers. They share libuv's four threads with the commits. */
const READS_MAX = 4;
/** Reads that one `load` has started and not used up. */
const AHEAD_MAX = 3;
/** Neighbouring extents are read together up to this. */
const READ_BYTES = 1024 * 1024;
const CACHE_BYTES_MAX = 4 * 1024 * 1024;
const OPEN_FILES_MAX = 64;
const NO_BYTES: Buffer = Buffer.alloc(0);

/** A piece that was read, or is being read as long as `ready` is there. */
interface CachedPiece extends Piece {
  ready: Promise<void> | undefined;
  /** Loads that look at it. */
  users: number;
  cached: boolean;
}

/** A read started for the refs before `until` that no earlier one was started for. */
interface Planned {
  readonly piece: CachedPiece;
  readonly until: number;
}

/**
 * Reads bodies back. What is read is always a whole extent with its checksums (some batches of a log segment, some blocks of a
 * cold one); pieces are kept a while, since the next body asked for is usually the neighbour of the last.
 */
export class Reader {
  readonly #tail: TailCache;
  readonly #placeOf: (segment: number) => Source | undefined;
  readonly #files: OpenFiles;
  /** Least recently used first. */
  readonly #pieces: CachedPiece[] = [];
  #cachedBytes = 0;
  /** Buffers of READ_BYTES to be used again: fresh ones of this size would keep the collector running. */
  readonly #free: Buffer[] = [];
  readonly #gate = new Gate(READS_MAX);
  readonly #loads = new Set<Promise<void>>();

  /** @param placeOf the file that has the bodies of a segment now */
  constructor(disk: Disk, tail: TailCache, placeOf: (segment: number) => Source | undefined) {
    this.#tail = tail;
    this.#placeOf = placeOf;
    this.#files = new OpenFiles(disk, OPEN_FILES_MAX);
  }

  /** See `Journal.load`. */
  load(refs: readonly BodyRef[], each: EachBody): Promise<void> {
    return this.#counted(this.#load(refs, each));
  }

  /** See `Journal.loadScattered`. */
  loadScattered(places: Places, order: ArrayLike<number>, proves: Proves, each: EachBody): Promise<void> {
    const load = new ScatteredLoad(places, order, this.#tail, this.#placeOf, proves, each);
    return this.#counted(this.#loadScattered(load, each));
  }

  async #counted(loading: Promise<void>): Promise<void> {
    this.#loads.add(loading);
    try {
      await loading;
    } finally {
      this.#loads.delete(loading);
    }
  }

  /** Resolves when all loads under way now have ended. Later ones do not ask for bodies that are dead by now. */
  async drained(): Promise<void> {
    await Promise.allSettled([...this.#loads]);
  }

  async #load(refs: readonly BodyRef[], each: EachBody): Promise<void> {
    const ahead: Planned[] = [];
    try {
      await this.#loadAll(refs, each, ahead);
    } finally {
      for (const { piece } of ahead) this.#leave(piece);
    }
  }

  async #loadAll(refs: readonly BodyRef[], each: EachBody, ahead: Planned[]): Promise<void> {
    let planned = 0;
    for (let index = 0; index < refs.length; index++) {
      const ref = refs[index]!;
      const chunk = this.#tail.find(ref.segment, ref.offset);
      if (chunk !== undefined) {
        each(index, chunk.bytes, ref.offset - chunk.start);
        continue;
      }
      while (ahead.length > 0 && ahead[0]!.until <= index) this.#leave(ahead.shift()!.piece);
      planned = this.#planAhead(refs, Math.max(planned, index), ahead);
      const piece = ahead[0]?.piece;
      if (piece?.ready !== undefined) await piece.ready;
      const start = piece === undefined ? -1 : piece.source.find(piece, ref.segment, ref.offset, ref.length);
      if (start !== -1) each(index, piece!.bytes, start);
      // Nothing was planned for it: it has just left the tail cache, or the index of its segment is not complete there yet.
      else await this.#loadOne(ref, (bytes, at) => each(index, bytes, at));
    }
  }

  async #loadScattered(load: ScatteredLoad, each: EachBody): Promise<void> {
    const reads: Promise<void>[] = [];
    try {
      for (;;) {
        while (reads.length < AHEAD_MAX) {
          const stretch = load.next();
          if (stretch === undefined) break;
          reads.push(this.#readStretch(load, stretch));
        }
        const read = reads.shift();
        if (read === undefined) break;
        await read;
      }
    } finally {
      await Promise.allSettled(reads);
    }
    const { rest } = load;
    if (rest.length > 0) await this.#load(load.restRefs, (at, bytes, start) => each(rest[at]!, bytes, start));
  }

  async #readStretch(load: ScatteredLoad, stretch: Stretch): Promise<void> {
    const { source, start, end } = stretch;
    const bytes = this.#buffer(end - start);
    try {
      await this.#readExactly(source, bytes, start);
      load.arrived(stretch, bytes);
    } catch {
      // The other way may do better, or tells what is wrong.
      load.failed(stretch);
    } finally {
      this.#giveBack(bytes);
    }
  }

  /** Start reads until enough are under way. Answers the first ref that none was started for. */
  #planAhead(refs: readonly BodyRef[], from: number, ahead: Planned[]): number {
    while (ahead.length < AHEAD_MAX && from < refs.length) {
      const next = this.#planRead(refs, from);
      if (next === undefined) break;
      ahead.push(next);
      from = next.until;
    }
    return from;
  }

  /** One read for as many of the refs from `from` on as lie together. Undefined when there is none to start. */
  #planRead(refs: readonly BodyRef[], from: number): Planned | undefined {
    let source: Source | undefined;
    let start = 0;
    let end = 0;
    let index = from;
    for (; index < refs.length; index++) {
      const { segment, offset, length } = refs[index]!;
      if (this.#tail.find(segment, offset) !== undefined) continue;
      const place = this.#placeOf(segment);
      const extent = place === undefined ? undefined : extentOrNone(place, segment, offset, length);
      if (extent === undefined) break;
      if (source === undefined) {
        source = place;
        ({ start, end } = extent);
      } else if (place !== source || extent.start < start || extent.start > end) break;
      else if (extent.end <= end) continue;
      else if (extent.end - start <= READ_BYTES) end = extent.end;
      else break;
    }
    return source === undefined ? undefined : { piece: this.#fetch(source, start, end), until: index };
  }

  /** The slow way, for one body that was not planned. */
  async #loadOne(ref: BodyRef, each: (bytes: Buffer, start: number) => void): Promise<void> {
    const { segment, offset, length } = ref;
    for (;;) {
      const source = this.#placeOf(segment);
      if (source === undefined) throw corrupt(`segment ${segment}`, 'it is not there, but a body in it was asked for');
      const extent = source.extent(segment, offset, length);
      if (extent === undefined) {
        await this.#gate.run(() => this.#files.use(source.path, (file) => source.prepare(offset, file)));
        continue;
      }
      const piece = this.#fetch(source, extent.start, extent.end);
      try {
        if (piece.ready !== undefined) await piece.ready;
        const start = source.find(piece, segment, offset, length);
        if (start === -1)
          throw corrupt(source.path, `no body of ${length} bytes for segment ${segment}, offset ${offset}`);
        return each(piece.bytes, start);
      } finally {
        this.#leave(piece);
      }
    }
  }

  /** The extent from the cache, or a read of it, started now. The caller is a user of it until it calls `#leave`. */
  #fetch(source: Source, start: number, end: number): CachedPiece {
    const at = this.#pieces.findLastIndex(
      (piece) => piece.source === source && piece.start <= start && piece.end >= end,
    );
    if (at !== -1) {
      const found = this.#pieces[at]!;
      this.#pieces.splice(at, 1);
      this.#pieces.push(found);
      found.users++;
      return found;
    }
    const bytes = this.#buffer(end - start);
    const piece: CachedPiece = { source, start, end, bytes, ready: undefined, users: 1, cached: true };
    this.#pieces.push(piece);
    this.#cachedBytes += end - start;
    piece.ready = this.#read(piece);
    // Whoever needs the piece awaits `ready` and gets the error; nobody may need it any more.
    piece.ready.catch(() => this.#drop(this.#pieces.indexOf(piece)));
    this.#trim();
    return piece;
  }

  #buffer(length: number): Buffer {
    // Small reads are rare, and larger ones hold one large body.
    if (length > READ_BYTES || length * 4 < READ_BYTES) return Buffer.allocUnsafeSlow(length);
    return (this.#free.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)).subarray(0, length);
  }

  #leave(piece: CachedPiece): void {
    piece.users--;
    if (!piece.cached) this.#recycle(piece);
  }

  /** Use the buffer of a forgotten piece again, once nobody looks at it or reads into it. */
  #recycle(piece: CachedPiece): void {
    if (piece.users > 0 || piece.ready !== undefined) return;
    this.#giveBack(piece.bytes);
    piece.bytes = NO_BYTES;
  }

  #giveBack({ buffer }: Buffer): void {
    if (buffer.byteLength !== READ_BYTES || this.#free.length * READ_BYTES >= CACHE_BYTES_MAX) return;
    this.#free.push(Buffer.from(buffer));
  }

  async #read(piece: CachedPiece): Promise<void> {
    const { source, bytes, start } = piece;
    await this.#readExactly(source, bytes, start);
    source.verify(bytes, start);
    piece.ready = undefined;
  }

  #readExactly(source: Source, bytes: Buffer, start: number): Promise<void> {
    return this.#gate.run(() =>
      this.#files.use(source.path, async (file) => {
        const got = await file.read(bytes, 0, bytes.length, start);
        if (got < bytes.length) throw corrupt(source.path, `it ends at ${start + got}`);
      }),
    );
  }

  #trim(): void {
    for (let at = 0; this.#cachedBytes > CACHE_BYTES_MAX && at < this.#pieces.length - 1; ) {
      if (this.#pieces[at]!.ready === undefined) this.#drop(at);
      else at++;
    }
  }

  #drop(at: number): void {
    const [piece] = this.#pieces.splice(at, at === -1 ? 0 : 1);
    if (piece === undefined) return;
    this.#cachedBytes -= piece.end - piece.start;
    piece.cached = false;
    this.#recycle(piece);
  }

  /** The file of this source is going away: forget what was read of it. Reads under way still end well. */
  retire(source: Source): void {
    this.#files.retire(source.path);
    for (let at = this.#pieces.length - 1; at >= 0; at--) if (this.#pieces[at]!.source === source) this.#drop(at);
  }

  close(): Promise<void> {
    return this.#files.closeAll();
  }
}

/** A bad ref is reported when its turn comes, not while planning ahead. */
function extentOrNone(source: Source, segment: number, offset: number, length: number) {
  try {
    return source.extent(segment, offset, length);
  } catch {
    return undefined;
  }
}
