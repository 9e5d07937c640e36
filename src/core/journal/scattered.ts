/**
 * A load of bodies that lie far from each other and can prove that they are as written: each is read by itself, or with what lies
 * between it and the next one when that costs less than another read. What lies between is not looked at. Bodies that turn out not
 * to prove themselves, or cannot be read so, are left for the way that checks a whole extent (`rest`).
 */
import type { BodyRef, EachBody, Places } from './journal.ts';
import { refsOf } from './refs.ts';
import type { Source } from './source.ts';
import type { TailCache } from './tail-cache.ts';

/** See `Journal.loadScattered`. */
export type Proves = (bytes: Buffer, start: number, end: number) => boolean;

/** Bodies nearer to each other are read together. */
const GAP_BYTES = 64 * 1024;
/** Up to so much, but for a body that is larger. */
const STRETCH_BYTES = 1024 * 1024;
/** So many in a row that prove nothing are taken as a sign of the others. */
const UNPROVEN_MAX = 64;

/** A range of a file, and the bodies wanted of it. */
export interface Stretch {
  readonly source: Source;
  start: number;
  end: number;
  readonly indices: number[];
}

export class ScatteredLoad {
  /** Indices of bodies that are to be read in another way. */
  readonly rest: number[] = [];
  readonly #places: Places;
  readonly #order: ArrayLike<number>;
  readonly #tail: TailCache;
  readonly #placeOf: (segment: number) => Source | undefined;
  readonly #proves: Proves;
  readonly #each: EachBody;
  #next = 0;
  #unproven = 0;

  constructor(
    places: Places,
    order: ArrayLike<number>,
    tail: TailCache,
    placeOf: (segment: number) => Source | undefined,
    proves: Proves,
    each: EachBody,
  ) {
    this.#places = places;
    this.#order = order;
    this.#tail = tail;
    this.#placeOf = placeOf;
    this.#proves = proves;
    this.#each = each;
  }

  /** What is to be read next; undefined when there is nothing more. Bodies met that are in memory are handed over at once. */
  next(): Stretch | undefined {
    const { segments, offsets, lengths } = this.#places;
    let stretch: Stretch | undefined;
    let source: Source | undefined;
    let sourceOf = 0;
    for (; this.#next < this.#order.length; this.#next++) {
      const index = this.#order[this.#next]!;
      const segment = segments[index]!;
      const offset = offsets[index]!;
      const chunk = this.#tail.find(segment, offset);
      if (chunk !== undefined) {
        this.#each(index, chunk.bytes, offset - chunk.start);
        continue;
      }
      if (segment !== sourceOf) source = this.#placeOf(segment);
      sourceOf = segment;
      const end = offset + lengths[index]!;
      if (source?.isLog !== true || end > source.bytes || this.#unproven >= UNPROVEN_MAX) this.rest.push(index);
      else if (stretch === undefined) stretch = { source, start: offset, end, indices: [index] };
      else if (!joins(stretch, source, offset, end)) return stretch;
      else stretch.indices.push(index);
    }
    return stretch;
  }

  /** The bodies of `rest`. */
  get restRefs(): BodyRef[] {
    return refsOf(this.#places, this.rest);
  }

  /** A stretch was read. */
  arrived({ start, indices }: Stretch, bytes: Buffer): void {
    const { offsets, lengths } = this.#places;
    for (let n = 0; n < indices.length; n++) {
      const index = indices[n]!;
      const at = offsets[index]! - start;
      if (this.#proves(bytes, at, at + lengths[index]!)) {
        this.#unproven = 0;
        this.#each(index, bytes, at);
      } else {
        this.#unproven++;
        this.rest.push(index);
      }
    }
  }

  /** It could not be read. */
  failed({ indices }: Stretch): void {
    for (const index of indices) this.rest.push(index);
  }
}

/** Read a body together with others, if it is near enough to them: the stretch grows. */
function joins(stretch: Stretch, source: Source, offset: number, end: number): boolean {
  if (source !== stretch.source || offset > stretch.end + GAP_BYTES) return false;
  const from = Math.min(offset, stretch.start);
  const to = Math.max(end, stretch.end);
  if (to - from > STRETCH_BYTES) return false;
  stretch.start = from;
  stretch.end = to;
  return true;
}
