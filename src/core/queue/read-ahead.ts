/**
 * Bodies of a queue that have left memory, read back in queue order: one window is being delivered while the next one is
 * loaded. Windows are keyed by position, which never changes its meaning: what is settled, purged or handed to another
 * consumer during a load is simply never asked for.
 */
import type { Bodies } from '../bodies.ts';
import { copyBytes } from '../bytes.ts';
import type { Engine } from '../engine.ts';
import type { BodyRef, Located } from '../journal/journal.ts';
import type { Limits } from '../limits.ts';
import { provesItself, readStored } from '../stored-message.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';

/** Where the body of the message looked at is. */
const place: BodyRef = { segment: 0, offset: 0, length: 0 };

const WINDOW_ENTRIES_MAX = 4096;
/** Bodies that do not lie in this order get larger windows: a place in the journal that is read once may hold several. */
const SCATTERED_WINDOWS = 8;
/** Seen from so many. */
const SCATTER_LOOK_ENTRIES = 16;
const SCATTERED_ENTRIES_MAX = 131_072;
/** All windows of the broker together may take so many times what one queue may; then queues get small ones. */
const GENEROUS_QUEUES = 16;
const SMALL_WINDOW_BYTES = 64 * 1024;
const SPARE_BUFFERS_MAX = 4;
/** After a failed read. */
const RETRY_MS = 5_000;

interface Window {
  readonly positions: Float64Array;
  /** Where each body starts in `bytes`. */
  readonly offsets: Float64Array;
  readonly bytes: Buffer;
  /** Bytes of all its bodies. */
  readonly length: number;
  /** The entry found last: the next one is asked for next. */
  at: number;
}

/** Buffers for windows, used again: fresh ones of this size would make the collector run all the time. */
export class WindowBuffers {
  readonly #bytes: number;
  readonly #free: Buffer[] = [];

  /** @param bytes of a full window */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  take(length: number): Buffer {
    // Small windows are rare and short-lived; larger ones hold one large body.
    if (length > this.#bytes || length * 4 < this.#bytes) return Buffer.allocUnsafeSlow(length);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  give(buffer: Buffer): void {
    if (buffer.length === this.#bytes && this.#free.length < SPARE_BUFFERS_MAX) this.#free.push(buffer);
  }
}

/** Point the engine's view to the message at a position of a lane; false when it has to be read from disk first. */
export function showMessage(queue: Queue, lane: Lane, here: number): boolean {
  // Most queues never need to.
  if (queue.readAhead === undefined && showInMemory(queue.engine, lane, here)) return true;
  return readAheadOf(queue).show(lane, here);
}

/** The windows of what is handed out to everybody. */
export function readAheadOf(queue: Queue): ReadAhead {
  queue.readAhead ??= new ReadAhead(queue);
  return queue.readAhead;
}

function showInMemory(engine: Engine, lane: Lane, here: number): boolean {
  const { bodies } = engine;
  find(bodies, lane, here);
  if (!bodies.locate(place.segment, place.offset)) return false;
  view(engine);
  return true;
}

/** Have the place of a body in `place`. */
function find(bodies: Bodies, { ring }: Lane, here: number): void {
  bodies.table(ring.info(here)).find(ring.body(here), place);
}

/** Point the engine's view to the body that is found in memory, whose place is in `place`. */
function view({ bodies, view }: Engine): void {
  const { bytes, start } = bodies.located;
  readStored(view, bytes, start, start + place.length);
  view.id = bodies.idOf(place.segment, place.offset);
}

/** Never written to. */
const NONE: Window[] = [];

export class ReadAhead {
  readonly #queue: Queue;
  readonly #wish: { readonly demand: number };
  /** The body that was read last. */
  #last: BodyRef | undefined;
  #windows: Window[] = NONE;
  #loading = false;
  /** Counts `drop`s: a load that ends after one is thrown away. */
  #generation = 0;

  /** @param wish how many messages may be asked for soon */
  constructor(queue: Queue, wish: { readonly demand: number } = queue) {
    this.#queue = queue;
    this.#wish = wish;
  }

  /** A read is under way; the queue is woken at its end. */
  get loading(): boolean {
    return this.#loading;
  }

  /** Point the engine's view to the message at a position of a lane; false when it has to be read from disk first. */
  show(lane: Lane, here: number): boolean {
    const { engine } = this.#queue;
    const { bodies } = engine;
    const position = lane.offset + here;
    find(bodies, lane, here);
    if (!this.find(position, bodies.located) && !bodies.locate(place.segment, place.offset)) {
      this.want(position);
      return false;
    }
    view(engine);
    return true;
  }

  /** Find a body in the windows: true fills `into`. */
  find(position: number, into: Located): boolean {
    const windows = this.#windows;
    for (let n = 0; n < windows.length; n++) {
      const window = windows[n] as Window;
      const at = indexOf(window, position);
      if (at < 0) continue;
      window.at = at;
      if (n > 0) this.#release(n);
      if (!this.#loading && this.#windows.length === 1 && this.#wish.demand === Infinity) {
        this.#load(this.#after(window), false);
      }
      // After `#load`, which looks for bodies in memory by the same means.
      into.bytes = window.bytes;
      into.start = window.offsets[at] as number;
      return true;
    }
    return false;
  }

  /** Read from `position` on, unless a read is under way already. */
  want(position: number): void {
    if (!this.#loading) this.#load(position, true);
  }

  /** Forget everything: nobody consumes. */
  drop(): void {
    this.#generation++;
    this.#loading = false;
    this.#release(this.#windows.length);
  }

  #after(window: Window): number {
    return (window.positions[window.positions.length - 1] as number) + 1;
  }

  /** Let go of the first `count` windows. */
  #release(count: number): void {
    for (const window of this.#windows.splice(0, count)) this.#giveBack(window);
  }

  #giveBack(window: Window): void {
    this.#queue.engine.readAheadBytes -= window.length;
    this.#queue.engine.windowBuffers.give(window.bytes);
  }

  /** @param needed the body at `from` is what delivery waits for */
  #load(from: number, needed: boolean): void {
    const positions: number[] = [];
    const refs: BodyRef[] = [];
    const length = this.#collect(from, positions, refs);
    if (refs.length === 0) return;
    const { engine } = this.#queue;
    // A miss means that the windows are not where delivery is: keep at most the older one beside the new one.
    if (needed) this.#release(this.#windows.length - 1);
    const offsets = new Float64Array(refs.length);
    const bytes = engine.windowBuffers.take(length);
    let end = 0;
    for (let n = 0; n < refs.length; n++) {
      offsets[n] = end;
      end += (refs[n] as BodyRef).length;
    }
    const window: Window = { positions: Float64Array.from(positions), offsets, bytes, length, at: 0 };
    const generation = this.#generation;
    this.#loading = true;
    engine.readAheadBytes += length;
    this.#read(refs, offsets, bytes).then(
      () => this.#loaded(window, generation),
      (error: Error) => this.#failed(window, generation, error),
    );
  }

  /** Copy bodies to their places in `bytes`. */
  #read(refs: readonly BodyRef[], offsets: Float64Array, bytes: Buffer): Promise<void> {
    const { journal } = this.#queue.engine;
    // Of few it cannot be told whether they are in order.
    const isLone = this.#queue.delays !== undefined && !isNear(this.#last, refs[0] as BodyRef);
    this.#last = refs[refs.length - 1] as BodyRef;
    if (!isLone && inOrder(refs)) {
      return journal.load(refs, (index, source, start) => {
        source.copy(bytes, offsets[index] as number, start, start + (refs[index] as BodyRef).length);
      });
    }
    const order = sortedPlaces(refs);
    const sorted = Array.from(order, (index) => refs[index] as BodyRef);
    return journal.loadScattered(sorted, provesItself, (at, source, start) => {
      const index = order[at] as number;
      copyBytes(source, start, start + (refs[index] as BodyRef).length, bytes, offsets[index] as number);
    });
  }

  #loaded(window: Window, generation: number): void {
    if (generation !== this.#generation) {
      this.#giveBack(window);
      return;
    }
    this.#loading = false;
    if (this.#windows === NONE) this.#windows = [];
    this.#windows.push(window);
    this.#queue.engine.wake(this.#queue);
  }

  #failed(window: Window, generation: number, error: Error): void {
    const { engine, name } = this.#queue;
    this.#giveBack(window);
    if (generation !== this.#generation) return;
    engine.log('error', 'messages of a queue cannot be read; trying again', { queue: name, error: error.message });
    this.#queue.unreadable();
    engine.clock.after(RETRY_MS, () => {
      if (generation !== this.#generation) return;
      this.#loading = false;
      engine.wake(this.#queue);
    });
  }

  /** The entries of the next window: from `from` on, up to the first body that is in memory. Answers their bytes. */
  #collect(from: number, positions: number[], refs: BodyRef[]): number {
    const { engine } = this.#queue;
    const { ring, offset: laneOffset } = this.#queue.laneAt(from);
    const { bodies, limits } = engine;
    const generous = engine.readAheadBytes < limits.readAheadBytesMax * GENEROUS_QUEUES;
    let bytesMax = generous ? limits.readAheadBytesMax / 2 : Math.min(SMALL_WINDOW_BYTES, limits.readAheadBytesMax / 2);
    let entriesMax = Math.min(WINDOW_ENTRIES_MAX, this.#wish.demand);
    let isScattered = false;
    let bytes = 0;
    for (let at = ring.next(from - laneOffset); at >= 0 && refs.length < entriesMax; at = ring.next(at + 1)) {
      const row = ring.body(at);
      const table = bodies.table(ring.info(at));
      const segment = table.segment(row);
      const offset = table.offset(row);
      if (bodies.locate(segment, offset)) {
        if (isScattered) continue;
        break;
      }
      const length = table.length(row);
      if (refs.length > 0 && bytes + length > bytesMax) break;
      positions.push(laneOffset + at);
      refs.push({ segment, offset, length });
      bytes += length;
      if (refs.length !== SCATTER_LOOK_ENTRIES || !generous || inOrder(refs)) continue;
      isScattered = true;
      bytesMax *= SCATTERED_WINDOWS;
      entriesMax = Math.min(SCATTERED_ENTRIES_MAX, this.#wish.demand);
    }
    return bytes;
  }
}

/** Messages that had a delay are handed out in another order than they came in. */
function inOrder(refs: readonly BodyRef[]): boolean {
  for (let n = 1; n < refs.length; n++) if (precedes(refs[n] as BodyRef, refs[n - 1] as BodyRef)) return false;
  return true;
}

/** Whether a body lies about where the last one was: what was read for that most likely has it. */
function isNear(last: BodyRef | undefined, { segment, offset }: BodyRef): boolean {
  return last?.segment === segment && Math.abs(offset - last.offset) < NEAR_BYTES;
}

function precedes(a: BodyRef, b: BodyRef): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

const NEAR_BYTES = 1024 * 1024;
/** What lies nearer together is read together anyway. */
const PLACE_BYTES = 4096;

/** Indices of refs in the order of their places, roughly. */
function sortedPlaces(refs: readonly BodyRef[]): Float64Array {
  // Numbers sort much faster than anything that needs a comparison: place and index in one.
  const count = 2 ** Math.ceil(Math.log2(refs.length));
  const keys = new Float64Array(refs.length);
  let first = Number.POSITIVE_INFINITY;
  for (const { segment } of refs) first = Math.min(first, segment);
  for (let n = 0; n < refs.length; n++) {
    const { segment, offset } = refs[n] as BodyRef;
    const place = (segment - first) * (2 ** 32 / PLACE_BYTES) + Math.floor(offset / PLACE_BYTES);
    keys[n] = place * count + n;
  }
  keys.sort();
  for (let n = 0; n < keys.length; n++) keys[n] = (keys[n] as number) % count;
  return keys;
}

/** One window is delivered while the other one is read. */
export function windowBytes(limits: Limits): number {
  return Math.floor(limits.readAheadBytesMax / 2);
}

/** Index of a position in a window, or -1. Asked for in order, mostly. */
function indexOf(window: Window, position: number): number {
  const { positions, at } = window;
  if (positions[at] === position) return at;
  if (positions[at + 1] === position) return at + 1;
  let low = 0;
  let high = positions.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const found = positions[middle] as number;
    if (found === position) return middle;
    if (found < position) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
