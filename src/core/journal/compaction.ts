import type { Clock, Timer } from '../clock.ts';
import type { Disk } from '../disk.ts';
import type { Limits } from '../limits.ts';
import { ColdSegment, ColdWriter } from './cold.ts';
import type { BodyRef, LiveBodies } from './journal.ts';
import type { LogSegment } from './log-segment.ts';
import { type Manifest, writeManifest } from './manifest.ts';
import type { Reader } from './reader.ts';

/** A file is copied together when less than this part of it is live. */
const SPARSE = 0.5;
/** So many small cold segments are merged into one. */
const SMALL_COLD_MAX = 4;
/** Bodies are copied in steps of about so many bytes ... */
const STEP_BYTES = 512 * 1024;
/** ... and after each, copying rests this many times as long as it took: it gets a fifth of the disk at most. */
const REST_FACTOR = 4;
const REST_MS_MAX = 200;

export interface CompactorOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly journalId: number;
  readonly reader: Reader;
  /** Log segments by number, and the cold segment for each log segment that is gone. Changed in place. */
  readonly segments: Map<number, LogSegment>;
  readonly cold: Map<number, ColdSegment>;
  readonly lastCold: number;
  /** Resolves when all that was appended so far is durable. */
  readonly barrier: () => Promise<void>;
}

/** A log or cold segment below the line. */
interface Candidate {
  readonly file: LogSegment | ColdSegment;
  /** The log segments whose bodies it has. */
  readonly segments: readonly number[];
  readonly live: number;
}

/**
 * Gives disk space back. A file is only removed when (1) a checkpoint covers it, so no replay needs it; (2) the settlements that made
 * its bodies dead are durable, so no crash brings them back; (3) the manifest in force does not list it any more.
 */
export class Compactor {
  readonly #options: CompactorOptions;
  #lastCold: number;
  #stopped = false;
  #rest: { timer: Timer; wake: () => void } | undefined;

  constructor(options: CompactorOptions) {
    this.#options = options;
    this.#lastCold = options.lastCold;
  }

  /** @param line the segment of the newest checkpoint: only what is before may go */
  async reclaim(line: number, live: LiveBodies): Promise<void> {
    const candidates = this.#candidates(line, live);
    const dead = candidates.filter((candidate) => candidate.live === 0);
    if (dead.length > 0) await this.#replace(dead, undefined, line, live);
    const isSparse = ({ file, live: bytes }: Candidate) => bytes > 0 && bytes < file.bytes * SPARSE;
    const logs = candidates.filter((candidate) => !(candidate.file instanceof ColdSegment) && isSparse(candidate));
    const colds = candidates.filter(({ file }) => file instanceof ColdSegment);
    const small = colds.filter(
      ({ file, live: bytes }) => bytes > 0 && file.bytes < this.#options.limits.segmentBytes / 8,
    );
    const merged = small.length >= SMALL_COLD_MAX ? small : [];
    const sparseColds = colds.filter((candidate) => isSparse(candidate) || merged.includes(candidate));
    for (const group of [...this.#groups(logs), ...this.#groups(sparseColds)]) {
      if (this.#stopped) return;
      await this.#copy(group, line, live);
    }
  }

  /** End a reclaim under way soon; it resolves without having done all. */
  stop(): void {
    this.#stopped = true;
    this.#rest?.timer.cancel();
    this.#rest?.wake();
  }

  #candidates(line: number, live: LiveBodies): Candidate[] {
    const { segments, cold } = this.#options;
    const candidates: Candidate[] = [];
    for (const [number, file] of segments) {
      if (number < line) candidates.push({ file, segments: [number], live: live.bytes(number) });
    }
    for (const file of new Set(cold.values())) {
      const bytes = file.segments.reduce((sum, segment) => sum + live.bytes(segment), 0);
      candidates.push({ file, segments: file.segments, live: bytes });
    }
    return candidates.sort((a, b) => a.segments[0]! - b.segments[0]!);
  }

  /** Files to be copied into one cold segment of at most about half the size of a log segment. */
  #groups(candidates: readonly Candidate[]): Candidate[][] {
    const groups: Candidate[][] = [];
    let bytes = Number.POSITIVE_INFINITY;
    for (const candidate of candidates) {
      if (bytes + candidate.live > this.#options.limits.segmentBytes / 2) {
        groups.push([]);
        bytes = 0;
      }
      groups.at(-1)!.push(candidate);
      bytes += candidate.live;
    }
    return groups;
  }

  async #copy(group: readonly Candidate[], line: number, live: LiveBodies): Promise<void> {
    const { disk, clock, journalId } = this.#options;
    const segments = group.flatMap((candidate) => candidate.segments).sort((a, b) => a - b);
    const refs = await live.refs(new Set(segments));
    if (refs.length === 0) return this.#replace(group, undefined, line, live);
    const kept = [...new Set(refs.map((ref) => ref.segment))];
    const writer = await ColdWriter.create(disk, ++this.#lastCold, kept, journalId, clock.now());
    let made: ColdSegment;
    try {
      if (!(await this.#copyBodies(refs, writer))) return await writer.abandon();
      made = await writer.finish();
    } catch (error) {
      await writer.abandon();
      throw error;
    }
    await this.#replace(group, made, line, live);
  }

  /** False when it was told to stop. */
  async #copyBodies(refs: readonly BodyRef[], writer: ColdWriter): Promise<boolean> {
    const { reader, clock } = this.#options;
    for (let from = 0; from < refs.length; ) {
      const start = clock.monotonic();
      let to = from;
      for (let bytes = 0; to < refs.length && bytes < STEP_BYTES; to++) bytes += refs[to]!.length;
      const step = refs.slice(from, to);
      await reader.load(step, (index, bytes, at) => writer.add(step[index]!, bytes, at));
      if (writer.isBlockFull) await writer.flush();
      from = to;
      if (from < refs.length) await this.#pause(clock.monotonic() - start);
      if (this.#stopped) return false;
    }
    return true;
  }

  async #pause(tookMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#rest = undefined;
        resolve();
      };
      const timer = this.#options.clock.after(Math.min(REST_MS_MAX, tookMs * REST_FACTOR), wake);
      this.#rest = { timer, wake };
    });
  }

  /** Put `made` (or nothing) in the place of some files: manifest first, then the maps, then the files go. */
  async #replace(
    group: readonly Candidate[],
    made: ColdSegment | undefined,
    line: number,
    live: LiveBodies,
  ): Promise<void> {
    const { disk, segments, cold, reader, barrier } = this.#options;
    await barrier();
    const gone = new Set(group.map((candidate) => candidate.file));
    await writeManifest(disk, this.#manifest(line, live, gone, made));
    // A load that began while these bodies were live may still want them.
    await reader.drained();
    for (const candidate of group) {
      for (const segment of candidate.segments) {
        segments.delete(segment);
        cold.delete(segment);
      }
    }
    for (const segment of made?.segments ?? []) cold.set(segment, made!);
    for (const file of gone) {
      reader.retire(file);
      await disk.remove(file.path);
    }
  }

  #manifest(
    line: number,
    live: LiveBodies,
    gone: ReadonlySet<LogSegment | ColdSegment>,
    made: ColdSegment | undefined,
  ): Manifest {
    const { segments, cold, journalId } = this.#options;
    const log = [...segments.values()].filter((file) => file.number < line && !gone.has(file));
    const colds = [...new Set(cold.values())].filter((file) => !gone.has(file));
    if (made !== undefined) colds.push(made);
    return {
      line,
      journalId,
      log: log.map(({ number, bytes }) => ({ segment: number, bytes, live: live.bytes(number) })),
      cold: colds.map(({ number, bytes, segments: of }) => ({
        number,
        bytes,
        live: of.reduce((sum, segment) => sum + live.bytes(segment), 0),
        segments: of,
      })),
    };
  }
}
