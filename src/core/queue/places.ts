/** Where many bodies are, gathered entry by entry into columns that are used again and copied when they are complete. */
import type { Places } from '../journal/journal.ts';

const FIRST_ENTRIES = 4096;

export class GatheredPlaces {
  #positions = new Float64Array(FIRST_ENTRIES);
  #segments = new Uint32Array(FIRST_ENTRIES);
  #offsets = new Uint32Array(FIRST_ENTRIES);
  #lengths = new Uint32Array(FIRST_ENTRIES);
  count = 0;

  add(position: number, segment: number, offset: number, length: number): void {
    const at = this.count++;
    if (at === this.#positions.length) this.#grow();
    this.#positions[at] = position;
    this.#segments[at] = segment;
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
  }

  #grow(): void {
    const size = this.#positions.length * 2;
    const positions = new Float64Array(size);
    positions.set(this.#positions);
    this.#positions = positions;
    this.#segments = grown(this.#segments, size);
    this.#offsets = grown(this.#offsets, size);
    this.#lengths = grown(this.#lengths, size);
  }

  /** Whether they lie in the journal in this order. */
  get areOrdered(): boolean {
    const [segments, offsets] = [this.#segments, this.#offsets];
    for (let n = 1; n < this.count; n++) {
      const [segment, before] = [segments[n] as number, segments[n - 1] as number];
      if (segment < before || (segment === before && (offsets[n] as number) < (offsets[n - 1] as number))) return false;
    }
    return true;
  }

  /** A copy of all, with the positions of their entries. */
  copy(): Places & { readonly positions: Float64Array } {
    return {
      positions: this.#positions.slice(0, this.count),
      segments: this.#segments.slice(0, this.count),
      offsets: this.#offsets.slice(0, this.count),
      lengths: this.#lengths.slice(0, this.count),
    };
  }
}

function grown(column: Uint32Array, size: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(size);
  larger.set(column);
  return larger;
}

/** What lies nearer together is read together anyway. */
const PLACE_BYTES = 4096;

/** Indices of places in the order in which they lie, roughly. */
export function orderOf({ segments, offsets }: Places): Float64Array {
  // Numbers sort much faster than anything that needs a comparison: place and index in one.
  const keys = new Float64Array(segments.length);
  const count = 2 ** Math.ceil(Math.log2(keys.length));
  let first = Number.POSITIVE_INFINITY;
  for (let n = 0; n < keys.length; n++) first = Math.min(first, segments[n] as number);
  for (let n = 0; n < keys.length; n++) {
    const place =
      ((segments[n] as number) - first) * (2 ** 32 / PLACE_BYTES) + Math.floor((offsets[n] as number) / PLACE_BYTES);
    keys[n] = place * count + n;
  }
  keys.sort();
  for (let n = 0; n < keys.length; n++) keys[n] = (keys[n] as number) % count;
  return keys;
}
