/**
 * What a partition remembers of idempotent producers: how far each has come, and where its last messages are. A message that
 * comes again is known by its sequence number and not appended twice; one that would leave a gap is refused.
 */
import { CoreError } from '../errors.ts';
import type { MessageOrigin as Origin } from '../message.ts';

/** Stretches of consecutive sequences with consecutive offsets that are remembered of each producer. */
const STRETCHES_MAX = 5;

/** Sequences `first` to `last`, at offsets from `base` on. */
interface Stretch {
  first: number;
  last: number;
  base: number;
}

interface Progress {
  epoch: number;
  /** The newest last. */
  stretches: Stretch[];
}

/** As a checkpoint holds it. */
export interface StoredProgress extends Origin {
  readonly stretches: readonly Readonly<Stretch>[];
}

/** `check`: the message is new. */
export const NEW = -1;
/** `check`: it was appended before, longer ago than offsets are remembered. */
const REPEATED = -2;

export class Sequences {
  readonly #max: number;
  /** Those who appended longest ago first. */
  readonly #producers = new Map<number, Progress>();

  /** @param max producers remembered; beyond them, who has not appended for longest is forgotten */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Whether `count` messages from a sequence on may be appended: NEW, REPEATED, or the offset the first one got before. Throws
   * `out-of-order` when sequences before them are missing, or only some of them are new, `fenced` when the producer has a newer epoch
   * here. @param where for the text
   */
  check({ id, epoch }: Origin, sequence: number, where: () => string, count = 1): number {
    const known = this.#producers.get(id);
    if (known !== undefined && epoch < known.epoch) {
      throw new CoreError('fenced', `producer ${id} has epoch ${known.epoch} on ${where()}, not ${epoch}`);
    }
    const last = known === undefined || epoch > known.epoch ? undefined : known.stretches.at(-1);
    const next = last === undefined ? 0 : last.last + 1;
    if (sequence === next) return NEW;
    if (sequence > next) {
      throw new CoreError('out-of-order', `sequence ${sequence} of producer ${id} on ${where()}; ${next} comes next`);
    }
    if (sequence + count > next) {
      const which = `sequences ${sequence} to ${sequence + count - 1} of producer ${id} on ${where()}`;
      throw new CoreError('out-of-order', `${which}; of these, those before ${next} were appended already`);
    }
    const stretch = known?.stretches.find((one) => sequence >= one.first && sequence <= one.last);
    return stretch === undefined ? REPEATED : stretch.base + sequence - stretch.first;
  }

  /** `count` messages from `first` on were appended at offsets from `base` on. */
  note({ id, epoch }: Origin, first: number, count: number, base: number): void {
    let progress = this.#producers.get(id);
    if (progress?.epoch !== epoch) progress = { epoch, stretches: [] };
    this.#producers.delete(id);
    this.#producers.set(id, progress);
    const { stretches } = progress;
    const last = stretches.at(-1);
    if (last !== undefined && first === last.last + 1 && base === last.base + first - last.first) {
      last.last += count;
      return;
    }
    stretches.push({ first, last: first + count - 1, base });
    if (stretches.length > STRETCHES_MAX) stretches.shift();
    if (this.#producers.size > this.#max) this.#producers.delete(this.#producers.keys().next().value as number);
  }

  /** A copy. */
  moment(): StoredProgress[] {
    return Array.from(this.#producers, ([id, { epoch, stretches }]) => ({
      id,
      epoch,
      stretches: stretches.map((stretch) => ({ ...stretch })),
    }));
  }

  /** Take in what `moment` gave. */
  load(stored: readonly StoredProgress[]): void {
    for (const { id, epoch, stretches } of stored) {
      this.#producers.set(id, { epoch, stretches: stretches.map((stretch) => ({ ...stretch })) });
    }
  }
}
