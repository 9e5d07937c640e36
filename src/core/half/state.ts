/** What half messages put into a checkpoint: objects of kinds 12 to 15 (docs/disk-format-records.md). */
import { CoreError } from '../errors.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { Half, HalfState } from './half.ts';
import type { Halves } from './halves.ts';
import {
  HALF_OBJECT,
  readFinished,
  readHalf,
  readParts,
  writeCallback,
  writeFinished,
  writeHalf,
  writeParts,
} from './records.ts';

/** Half messages as they are when it is made, to be encoded at leisure. */
export class HalvesMoment {
  readonly #lastNumber: number;
  readonly #open: HalfState[] = [];
  readonly #finished: readonly Half[];
  readonly #callbacks: readonly (readonly [vhostId: number, group: string, address: string])[];

  constructor(halves: Halves) {
    this.#lastNumber = halves.lastNumber;
    for (const half of halves.open()) this.#open.push(half.state);
    this.#finished = halves.finished();
    this.#callbacks = Array.from(halves.groups.withCallback(), ({ vhost, name, callback }) => [
      vhost.id,
      name,
      callback ?? '',
    ]);
  }

  /** Write the objects one by one. */
  *encode(out: TlvWriter): Generator<void, void, undefined> {
    if (this.#lastNumber > 0) out.u8(HALF_OBJECT.counter).f64(this.#lastNumber);
    for (const callback of this.#callbacks) yield writeCallback(out.u8(HALF_OBJECT.callback), ...callback);
    for (const { group, facts, outcome } of this.#finished) {
      if (outcome === undefined) continue;
      yield writeFinished(out.u8(HALF_OBJECT.finished), group.vhost.id, group.name, facts.id, outcome);
    }
    for (const state of this.#open) {
      writeHalf(out.u8(HALF_OBJECT.half), state);
      yield writeParts(out, state.parts);
    }
  }
}

/** Take in what `encode` wrote, after the kind. Throws `journal-corrupt`. */
export function loadHalfObject(halves: Halves, kind: number, from: TlvReader): void {
  switch (kind) {
    case HALF_OBJECT.half:
      halves.loadHalf(readHalf(from), readParts(from));
      break;
    case HALF_OBJECT.finished:
      halves.loadFinished(readFinished(from));
      break;
    case HALF_OBJECT.callback:
      halves.loadCallback(from);
      break;
    case HALF_OBJECT.counter:
      halves.loadNumber(from.f64());
      break;
    default:
      throw new CoreError('journal-corrupt', `checkpoint: an object of kind ${kind}`);
  }
}
