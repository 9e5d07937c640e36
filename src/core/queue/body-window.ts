/** Bodies of some entries of a queue, read together for who looks at them without being a consumer. */
import type { BodyRef } from '../journal/journal.ts';
import type { Message } from '../message.ts';
import { ARENA_SEGMENT } from '../slab/arena.ts';
import { readStored } from '../stored-message.ts';
import type { Queue } from './queue.ts';

const WINDOW_BODIES_MAX = 256;
const WINDOW_BYTES_MAX = 1024 * 1024;

export class BodyWindow {
  readonly positions: readonly number[];
  readonly #bytes: Buffer;
  /** Where each body begins, and the end. */
  readonly #offsets: readonly number[];

  private constructor(positions: readonly number[], bytes: Buffer, offsets: readonly number[]) {
    this.positions = positions;
    this.#bytes = bytes;
    this.#offsets = offsets;
  }

  /** Copy the bodies of the first of `positions`, as many as a window holds (one at least), from memory or disk. Rejects when
   *  one cannot be read. They may be gone from the queue meanwhile. */
  static async read(queue: Queue, positions: Iterator<number>): Promise<BodyWindow> {
    const { bodies, journal } = queue.engine;
    const taken: number[] = [];
    const refs: BodyRef[] = [];
    const offsets = [0];
    for (let length = 0; taken.length < WINDOW_BODIES_MAX && length < WINDOW_BYTES_MAX; ) {
      const next = positions.next();
      if (next.done === true) break;
      const row = queue.body(next.value);
      const table = bodies.table(queue.info(next.value));
      const ref = { segment: table.segment(row), offset: table.offset(row), length: table.length(row) };
      taken.push(next.value);
      refs.push(ref);
      length += ref.length;
      offsets.push(length);
    }
    const bytes = Buffer.allocUnsafeSlow(offsets.at(-1) as number);
    const copy = (ref: BodyRef, at: number, source: Buffer, start: number): void => {
      source.copy(bytes, at, start, start + ref.length);
    };
    const onDisk: number[] = [];
    for (const [n, ref] of refs.entries()) {
      if (ref.segment < ARENA_SEGMENT) onDisk.push(n);
      else if (bodies.locate(ref.segment, ref.offset))
        copy(ref, offsets[n] as number, bodies.located.bytes, bodies.located.start);
    }
    if (onDisk.length > 0) {
      await journal.load(
        onDisk.map((n) => refs[n] as BodyRef),
        (index, source, start) => {
          const n = onDisk[index] as number;
          copy(refs[n] as BodyRef, offsets[n] as number, source, start);
        },
      );
    }
    return new BodyWindow(taken, bytes, offsets);
  }

  /** Make `view` show the n-th body: valid as long as the window. Answers its length. */
  show(n: number, view: Message): number {
    const start = this.#offsets[n] as number;
    const end = this.#offsets[n + 1] as number;
    readStored(view, this.#bytes, start, end);
    return end - start;
  }
}
