/**
 * Bodies of a queue that have left memory, read back in queue order: one window is being delivered while the next one is
 * loaded. Windows are keyed by position, which never changes its meaning: what is settled, purged or handed to another
 * consumer during a load is simply never asked for.
 */
import type { Bodies } from '../bodies.ts';
import { copyBytes } from '../bytes.ts';
import type { Engine } from '../engine.ts';
import type { BodyRef, Located, Places } from '../journal/journal.ts';
import { refsOf } from '../journal/refs.ts';
import type { Limits } from '../limits.ts';
import { provesItself, readStored } from '../stored-message.ts';
import type { Lane } from './lane.ts';
import { GatheredPlaces, orderOf } from './places.ts';
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
  readonly places: Places;
  /** Where each body starts in `bytes`. */
  readonly starts: Uint32Array;
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

/** Of the window being put together. */
const gathered = new GatheredPlaces();

/** Nearer bodies are read together. */
const NEAR_BYTES = 1024 * 1024;

const NOWHERE = { segment: 0, offset: 0 };

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
  /** Where the body is that was read last. */
  #last = NOWHERE;
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
    if (this.#windows.length === 0 || !this.#find(position, bodies.located)) {
      find(bodies, lane, here);
      if (!bodies.locate(place.segment, place.offset)) {
        this.#want(position);
        return false;
      }
    }
    view(engine);
    return true;
  }

  /** Find a body in the windows: true fills `into`, and `place`. */
  #find(position: number, into: Located): boolean {
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
      const { segments, offsets, lengths } = window.places;
      place.segment = segments[at] as number;
      place.offset = offsets[at] as number;
      place.length = lengths[at] as number;
      // After `#load`, which looks for bodies in memory by the same means.
      into.bytes = window.bytes;
      into.start = window.starts[at] as number;
      return true;
    }
    return false;
  }

  /** Read from `position` on, unless a read is under way already. */
  #want(position: number): void {
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
    const length = this.#gather(from);
    if (gathered.count === 0) return;
    const { engine } = this.#queue;
    // A miss means that the windows are not where delivery is: keep at most the older one beside the new one.
    if (needed) this.#release(this.#windows.length - 1);
    const isScattered = !gathered.areOrdered;
    const { positions, ...places } = gathered.copy();
    const starts = new Uint32Array(positions.length);
    const bytes = engine.windowBuffers.take(length);
    for (let n = 1; n < starts.length; n++) starts[n] = (starts[n - 1] as number) + (places.lengths[n - 1] as number);
    const window: Window = { positions, places, starts, bytes, length, at: 0 };
    const generation = this.#generation;
    this.#loading = true;
    engine.readAheadBytes += length;
    this.#read(window, isScattered).then(
      () => this.#loaded(window, generation),
      (error: Error) => this.#failed(window, generation, error),
    );
  }

  /** Copy the bodies of a window to their places in it. */
  #read({ places, starts, bytes }: Window, isScattered: boolean): Promise<void> {
    const { journal } = this.#queue.engine;
    const { lengths } = places;
    const copy = (index: number, source: Buffer, start: number) => {
      copyBytes(source, start, start + (lengths[index] as number), bytes, starts[index] as number);
    };
    if (isScattered || this.#isLone(places)) return journal.loadScattered(places, orderOf(places), provesItself, copy);
    return journal.load(refsOf(places), copy);
  }

  /** Whether bodies are few, where they may be in no order, and far from where the last one was: what was read for that has not got them. */
  #isLone({ segments, offsets }: Places): boolean {
    const { segment, offset } = this.#last;
    const last = segments.length - 1;
    this.#last = { segment: segments[last] as number, offset: offsets[last] as number };
    if (this.#queue.delays === undefined || last >= SCATTER_LOOK_ENTRIES) return false;
    return segments[0] !== segment || Math.abs((offsets[0] as number) - offset) > NEAR_BYTES;
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
  #gather(from: number): number {
    const { engine } = this.#queue;
    const { ring, offset: laneOffset } = this.#queue.laneAt(from);
    const { bodies, limits } = engine;
    const generous = engine.readAheadBytes < limits.readAheadBytesMax * GENEROUS_QUEUES;
    let bytesMax = generous ? limits.readAheadBytesMax / 2 : Math.min(SMALL_WINDOW_BYTES, limits.readAheadBytesMax / 2);
    let entriesMax = Math.min(WINDOW_ENTRIES_MAX, this.#wish.demand);
    let isScattered = false;
    let bytes = 0;
    gathered.count = 0;
    for (let at = ring.next(from - laneOffset); at >= 0 && gathered.count < entriesMax; at = ring.next(at + 1)) {
      bodies.table(ring.info(at)).find(ring.body(at), place);
      const { segment, offset, length } = place;
      if (bodies.locate(segment, offset)) {
        if (isScattered) continue;
        break;
      }
      if (gathered.count > 0 && bytes + length > bytesMax) break;
      gathered.add(laneOffset + at, segment, offset, length);
      bytes += length;
      if (gathered.count !== SCATTER_LOOK_ENTRIES || !generous || gathered.areOrdered) continue;
      isScattered = true;
      bytesMax *= SCATTERED_WINDOWS;
      entriesMax = Math.min(SCATTERED_ENTRIES_MAX, this.#wish.demand);
    }
    return bytes;
  }
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
