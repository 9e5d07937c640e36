/** A volatile subscriber: it sees messages as they are published, and nothing is stored for it. */
import type { Client } from './client.ts';
import type { Arguments, Tap as TapDoor, TapHandlers } from './door.ts';
import { CoreError } from './errors.ts';
import type { Exchange, RetainedValue } from './exchange-entity.ts';
import { type BindingFilter, bindingFilter } from './filter/binding.ts';
import { hubSource } from './filter/source.ts';
import { hubOf } from './hub.ts';
import type { BodyRef } from './journal/journal.ts';
import { exchangeName, FLAG_RETAINED, keyText, type Message, type Pattern } from './message.ts';
import { ARENA_SEGMENT } from './slab/arena.ts';
import { readStored } from './stored-message.ts';

/** Last values shown between two turns of the event loop, and bytes read from disk at a time. */
const RETAINED_PER_TURN = 256;
const RETAINED_BYTES_PER_READ = 1024 * 1024;

const NO_ARGUMENTS: Arguments = Object.freeze({});

export class Tap implements TapDoor {
  dropped = 0;
  readonly #client: Client;
  readonly #handlers: TapHandlers;
  #closed = false;

  constructor(client: Client, handlers: TapHandlers) {
    this.#client = client;
    this.#handlers = handlers;
  }

  /** A message matches. */
  deliver(message: Message): void {
    if (this.#handlers.onMessage(message)) {
      this.#client.delivered++;
      this.#client.home.counters.delivered++;
    } else {
      this.dropped++;
      this.#client.home.counters.dropped++;
    }
  }

  bind(exchange: string, pattern: Pattern, args: Arguments = NO_ARGUMENTS): void {
    if (this.#closed) return;
    const { home, engine } = this.#client;
    if (home.router.bindings >= engine.limits.bindingsPerVhostMax) {
      throw new CoreError(
        'limit-exceeded',
        `${engine.limits.bindingsPerVhostMax} bindings in virtual host '${home.name}'`,
      );
    }
    const filter = bindingFilter(args, engine.limits);
    home.router.bind(this.#exchange(exchange), { kind: 'tap', target: this }, pattern, args, filter);
  }

  unbind(exchange: string, pattern: Pattern, args: Arguments = NO_ARGUMENTS): void {
    const { home } = this.#client;
    const source = home.router.get(exchange);
    if (source === undefined) return;
    if (home.router.unbind(source, this, pattern, args) !== undefined) home.unbound(source);
  }

  #exchange(name: string): Exchange {
    const { home } = this.#client;
    const exchange = home.router.get(name);
    if (exchange === undefined) throw new CoreError('not-found', `exchange '${name}' in virtual host '${home.name}'`);
    if (name === '') throw new CoreError('access-refused', 'the default exchange cannot be bound');
    return exchange;
  }

  retained(
    exchange: string,
    pattern: Pattern,
    each: (message: Message) => void,
    done: () => void,
    args: Arguments = NO_ARGUMENTS,
  ): void {
    const { engine } = this.#client;
    const filter = bindingFilter(args, engine.limits);
    const wanted = filter === undefined ? each : this.#passing(filter, each);
    const values = this.#exchange(exchange)
      .retained(pattern)
      .map((entry) => entry.value);
    // The bodies are ours until they were shown: their last value may be replaced meanwhile.
    for (const { row, info } of values) engine.bodies.table(info).addRef(row, 1);
    if (values.length === 0) done();
    else this.#show(values, 0, wanted, done);
  }

  /** `each`, for messages that a filter lets pass. */
  #passing(filter: BindingFilter, each: (message: Message) => void): (message: Message) => void {
    const { formats } = this.#client.engine;
    return (message) => {
      const { receivedAtMs } = message;
      const facts = { key: keyText(message), exchange: exchangeName(message), receivedAtMs };
      if (filter.matches(hubSource(hubOf(formats, message), facts))) each(message);
    };
  }

  /** Show `values` from `at` on, those in memory at once, the others after reading them. */
  #show(values: readonly RetainedValue[], at: number, each: (message: Message) => void, done: () => void): void {
    const { engine } = this.#client;
    const { bodies } = engine;
    const end = Math.min(values.length, at + RETAINED_PER_TURN);
    for (; at < end; at++) {
      const { row, info } = values[at] as RetainedValue;
      const table = bodies.table(info);
      if (!bodies.locate(table.segment(row), table.offset(row))) {
        this.#read(values, at, each, done);
        return;
      }
      this.#showOne(row, info, bodies.located.bytes, bodies.located.start, each);
      bodies.release(row, info);
    }
    if (at < values.length) engine.clock.soon(() => this.#show(values, at, each, done));
    else this.#shown(done);
  }

  #showOne(row: number, info: number, bytes: Buffer, start: number, each: (message: Message) => void): void {
    if (this.#closed) return;
    const { bodies, view } = this.#client.engine;
    const table = bodies.table(info);
    readStored(view, bytes, start, start + table.length(row));
    view.id = bodies.idOf(table.segment(row), table.offset(row));
    view.flags |= FLAG_RETAINED;
    each(view);
  }

  /** Read values from `at` on from disk, as many as fit into one read, show them, go on. */
  #read(values: readonly RetainedValue[], at: number, each: (message: Message) => void, done: () => void): void {
    const { engine } = this.#client;
    const { bodies } = engine;
    const refs: BodyRef[] = [];
    let bytes = 0;
    for (let n = at; n < values.length && refs.length < RETAINED_PER_TURN && bytes < RETAINED_BYTES_PER_READ; n++) {
      const { row, info } = values[n] as RetainedValue;
      const table = bodies.table(info);
      const segment = table.segment(row);
      // Bodies in the arena have no place in the journal; they are shown after this read.
      if (segment >= ARENA_SEGMENT) break;
      const length = table.length(row);
      refs.push({ segment, offset: table.offset(row), length });
      bytes += length;
    }
    const show = (index: number, source: Buffer, start: number): void => {
      const { row, info } = values[at + index] as RetainedValue;
      this.#showOne(row, info, source, start, each);
      bodies.release(row, info);
    };
    engine.journal.load(refs, show).then(
      () => (at + refs.length < values.length ? this.#show(values, at + refs.length, each, done) : this.#shown(done)),
      (error: Error) => {
        engine.log('error', 'last values cannot be read', { error: error.message });
        this.#shown(done);
      },
    );
  }

  #shown(done: () => void): void {
    if (!this.#closed) done();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { home } = this.#client;
    for (const binding of home.router.unbindAll(this)) home.unbound(binding.source);
    this.#client.leftBy(this);
  }
}
