/** What is published and settled together with other things. */
import type { Address, Message, SettleOp } from '../../core/index.ts';
import type { Published } from './model.ts';
import type { ModelQueue } from './model-queue.ts';
import type { Lineage } from './place.ts';

/** A message for a queue that is published together with others. */
export interface Part {
  readonly queue: ModelQueue;
  readonly address: Address;
  readonly message: Message;
  readonly published: Published;
}

/** A delivery that a transaction settles. */
export interface Held {
  readonly lineage: Lineage;
  readonly op: SettleOp;
  readonly number: number;
  readonly out: Map<number, Lineage>;
}

/** Some of these numbers of deliveries, next to each other. */
export function choose(numbers: readonly number[], from: number, count: number): number[] {
  const first = numbers[from % Math.max(1, numbers.length)];
  return first === undefined ? [] : numbers.filter((number) => number >= first && number < first + count);
}
