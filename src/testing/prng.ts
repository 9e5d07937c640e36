/** A small seeded random generator (sfc32, started by splitmix32): one seed gives one sequence, on every machine. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any integer; only its low 53 bits count */
  constructor(seed: number) {
    let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
    const mix = () => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.#a = mix();
    this.#b = mix();
    this.#c = mix();
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** 0 <= x < 1. */
  float(): number {
    return this.u32() / 2 ** 32;
  }

  /** A whole number 0 <= x < `bound` at most 2^32. */
  below(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  /** A whole number `from` <= x <= `to`. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** One of the keys, as often as its weight says. */
  weighted<K extends string>(weights: { readonly [key in K]: number }): K {
    const keys = Object.keys(weights) as K[];
    let left = this.float() * keys.reduce((sum, key) => sum + weights[key], 0);
    for (const key of keys) {
      left -= weights[key];
      if (left < 0) return key;
    }
    return keys[keys.length - 1]!;
  }

  /** Reorder in place. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32();
    return bytes;
  }

  /** A generator of its own for a part of the run, so that parts do not disturb each other's sequence. */
  fork(): Prng {
    return new Prng(this.u32() * 2 ** 20 + (this.u32() >>> 12));
  }
}
