/** An exchange as the broker keeps it: settings, counters and the last values of its keys. */

import type { ExchangeKindName, ExchangeSettings } from './door.ts';
import type { Engine } from './engine.ts';
import { type RetainedEntry, RetainedIndex } from './exchange/retained.ts';
import type { RoutedExchange } from './exchange/router.ts';
import type { Pattern, RoutingKey } from './message.ts';
import { RECORD } from './records.ts';
import type { Moment } from './roster.ts';
import { TlvWriter } from './tlv.ts';

/** A retained last value. Immutable: a new value is a new object, so that a checkpoint can hold on to the old one. */
export interface RetainedValue {
  /** Row of its body, and TRANSIENT_BODY or 0. */
  readonly row: number;
  readonly info: number;
}

const EMPTY: readonly never[] = [];
const record = new TlvWriter();

export class Exchange implements RoutedExchange {
  readonly id: number;
  readonly name: string;
  readonly kind: ExchangeKindName;
  readonly alternate: string | undefined;
  readonly settings: ExchangeSettings;
  /** It, its bindings to logged queues and its persistent last values survive a restart. */
  readonly logged: boolean;
  /** Made with the virtual host: cannot be deleted. */
  readonly predeclared: boolean;
  published = 0;
  readonly #engine: Engine;
  #retained: RetainedIndex<RetainedValue> | undefined;

  constructor(engine: Engine, id: number, name: string, settings: ExchangeSettings, predeclared: boolean) {
    this.#engine = engine;
    this.id = id;
    this.name = name;
    this.kind = settings.kind;
    this.alternate = settings.alternate;
    this.settings = settings;
    this.logged = settings.durable;
    this.predeclared = predeclared;
  }

  /** Number of last values. */
  get retainedCount(): number {
    return this.#retained?.size ?? 0;
  }

  /** Whether `key` has a last value, or may get one. */
  hasRoomFor(key: RoutingKey): boolean {
    const max = this.#engine.limits.retainedPerExchangeMax;
    return this.retainedCount < max || this.#retained?.get(key) !== undefined;
  }

  /** Keep a last value; the reference to its body is now ours. Answers the one it replaces, whose body was given up. */
  retain(key: RoutingKey, value: RetainedValue): RetainedValue | undefined {
    this.#retained ??= new RetainedIndex(this.#engine.limits.retainedPerExchangeMax);
    const old = this.#retained.set(key, value);
    if (old !== undefined) this.#engine.bodies.release(old.row, old.info);
    return old;
  }

  /** Forget the last value of a key, and answer it; its body was given up. */
  forget(key: RoutingKey): RetainedValue | undefined {
    const old = this.#retained?.delete(key);
    if (old !== undefined) this.#engine.bodies.release(old.row, old.info);
    return old;
  }

  /** Write to the journal that a key has no logged last value any more. Answers the batch. */
  logForget(key: RoutingKey): number {
    record.reset().u32(this.id).u8(key.separator).text(key.text);
    return this.#engine.append(RECORD.unretain, record);
  }

  /** The last values that match, or all of them, the oldest first. */
  retained(pattern?: Pattern): readonly { readonly key: RoutingKey; readonly value: RetainedValue }[] {
    if (this.#retained === undefined) return EMPTY;
    return pattern === undefined ? this.#retained.all() : this.#retained.match(pattern);
  }

  /** All last values of this moment, to be read over many turns; undefined when there are none. */
  retainedMoment(): Moment<RetainedEntry<RetainedValue>> | undefined {
    return this.#retained?.moment();
  }

  /** The exchange is gone: give the bodies of its last values up. */
  dropRetained(): void {
    for (const { value } of this.retained()) this.#engine.bodies.release(value.row, value.info);
    this.#retained = undefined;
  }
}
