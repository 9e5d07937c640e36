/**
 * What the core puts into a checkpoint and takes back: objects first, then the index pages (docs/disk-format-records.md).
 *
 *     u32 magic, u32 version
 *     blocks: u32 length, then objects { u8 kind, fields }; the last block has length 0
 *     the page snapshot (slab/page-store.ts)
 */

import { TRANSIENT_BODY } from './bodies.ts';
import type { Clock } from './clock.ts';
import { CoreError } from './errors.ts';
import type { RetainedEntry } from './exchange/retained.ts';
import type { Exchange, RetainedValue } from './exchange-entity.ts';
import { bindingFilter, NO_FILTER_LIMITS } from './filter/binding.ts';
import { HALF_OBJECT_FIRST, HALF_OBJECT_LAST } from './half/records.ts';
import { HalvesMoment, loadHalfObject } from './half/state.ts';
import { loadMarkObject, MARK_OBJECT, MarksMoment } from './marks/state.ts';
import { RoutingKey as Key } from './message.ts';
import type { Policy } from './policy/policies.ts';
import { addStoredPolicy, setStoredLiveRules, writeLiveRules, writePolicy } from './policy/stored.ts';
import { readDeferred } from './queue/deferrals.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { Queue } from './queue/queue.ts';
import {
  readBinding,
  readExchange,
  readLog,
  readQueue,
  writeBinding,
  writeExchange,
  writeLog,
  writeQueue,
} from './records.ts';
import { type Job, writeJob } from './redrive/job.ts';
import type { Moment } from './roster.ts';
import { ChunkReader } from './slab/chunk-reader.ts';
import type { PageSnapshot } from './slab/page-store.ts';
import { TlvReader, TlvWriter } from './tlv.ts';
import { TOPIC_OBJECT_FIRST, TOPIC_OBJECT_LAST } from './topic/records.ts';
import { loadTopicObject, TopicsMoment } from './topic/state.ts';
import type { Topology } from './topology.ts';
import { type Binding, survives, type Vhost } from './vhost.ts';

/** "JMQS" */
const MAGIC = 0x53514d4a;
const VERSION = 1;
const BLOCK_BYTES = 64 * 1024;

/** Kinds of objects in the blocks. What others refer to is written before them. */
const OBJECT = {
  counters: 0,
  vhost: 1,
  exchange: 2,
  queue: 3,
  binding: 4,
  retained: 5,
  entryLog: 6,
  policy: 16,
  liveRules: 17,
  deferred: 24,
  redrive: 28,
} as const;

/**
 * The objects at one moment, to be encoded at leisure: none of them changes what is written of it afterwards. Only virtual
 * hosts, policies, exchanges and topics are copied; of the others there may be millions. `end` must be run.
 */
export class StateMoment {
  readonly #topology: Topology;
  readonly #lastId: number;
  readonly #vhosts: readonly Vhost[];
  readonly #policies: (readonly [Vhost, Policy])[] = [];
  readonly #exchanges: (readonly [Vhost, Exchange])[] = [];
  readonly #queues: Moment<Queue>;
  readonly #topics: TopicsMoment;
  readonly #halves: HalvesMoment;
  readonly #redrives: readonly Job[];
  readonly #logs: Moment<EntryLog>;
  readonly #marks: MarksMoment;
  readonly #bindings: Moment<Binding>[] = [];
  readonly #retained: (readonly [Exchange, Moment<RetainedEntry<RetainedValue>>])[] = [];

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#lastId = topology.lastId;
    this.#vhosts = [...topology.vhosts.values()];
    this.#queues = topology.loggedQueues.moment();
    this.#topics = new TopicsMoment(topology.topics);
    this.#halves = new HalvesMoment(topology.halves);
    this.#redrives = topology.redrives.moment();
    this.#logs = topology.loggedLogs.moment();
    this.#marks = new MarksMoment(topology.markedQueues);
    for (const vhost of this.#vhosts) {
      for (const policy of vhost.policies.all()) this.#policies.push([vhost, policy]);
      this.#bindings.push(vhost.router.roster.moment());
      for (const exchange of vhost.router.exchanges()) {
        if (!exchange.logged) continue;
        this.#exchanges.push([vhost, exchange]);
        const retained = exchange.retainedMoment();
        if (retained !== undefined) this.#retained.push([exchange, retained]);
      }
    }
  }

  /** Encode the objects one by one; the caller looks at the writer after each. */
  *encode(out: TlvWriter): Generator<void, void, undefined> {
    out.u8(OBJECT.counters).f64(this.#lastId);
    for (const vhost of this.#vhosts) yield void out.u8(OBJECT.vhost).u32(vhost.id).text(vhost.name);
    for (const [vhost, policy] of this.#policies) yield writePolicy(out.u8(OBJECT.policy), vhost.id, policy);
    for (const [vhost, exchange] of this.#exchanges) {
      if (exchange.predeclared) continue;
      yield writeExchange(out.u8(OBJECT.exchange), exchange.id, vhost.id, exchange.name, exchange.settings);
    }
    for (const queue of this.#queues) {
      out.u8(OBJECT.queue).u32(queue.base.ring.row);
      yield writeQueue(out, queue.id, queue.vhost.id, queue.name, queue.settings);
    }
    yield* this.#encodeLiveRules(out);
    yield* this.#topics.encode(out);
    yield* this.#halves.encode(out);
    for (const job of this.#redrives) yield writeJob(out.u8(OBJECT.redrive), job);
    for (const log of this.#logs) {
      out.u8(OBJECT.entryLog).u32(log.ring.row);
      yield writeLog(out, log);
    }
    yield* this.#encodeDeferred(out);
    yield* this.#marks.encode(out);
    for (const bindings of this.#bindings) {
      // Those that do not survive are yielded too: passing a million of them takes its time.
      for (const binding of bindings)
        yield survives(binding) ? writeBinding(out.u8(OBJECT.binding), binding) : undefined;
    }
    for (const [exchange, retained] of this.#retained) yield* encodeRetained(exchange, retained, out);
  }

  /** As they are now, perhaps later than the moment: the log has what changed since, and replay sets the same again. */
  *#encodeLiveRules(out: TlvWriter): Generator<void, void, undefined> {
    for (const vhost of this.#vhosts) {
      for (const [queue, table] of vhost.policies.live) {
        if (queue.logged) writeLiveRules(out.u8(OBJECT.liveRules), queue, table);
        yield;
      }
    }
  }

  /** As they are now, as the live rules. */
  *#encodeDeferred(out: TlvWriter): Generator<void, void, undefined> {
    for (const deferrals of [...this.#topology.deferring]) {
      if (deferrals.logged) yield* deferrals.encode(out, () => out.u8(OBJECT.deferred));
    }
  }

  /** It was read, or will not be. */
  *end(): Generator<void, void, undefined> {
    yield* this.#queues.end();
    yield* this.#logs.end();
    for (const bindings of this.#bindings) yield* bindings.end();
    for (const [, retained] of this.#retained) yield* retained.end();
  }
}

function* encodeRetained(
  exchange: Exchange,
  retained: Moment<RetainedEntry<RetainedValue>>,
  out: TlvWriter,
): Generator<void, void, undefined> {
  for (const { key, value } of retained) {
    if ((value.info & TRANSIENT_BODY) === 0) {
      out.u8(OBJECT.retained).u32(exchange.id).u32(value.row).u8(key.separator).text(key.text);
    }
    yield;
  }
}

/**
 * The state of a moment as chunks that are made when they are asked for; a chunk is valid until the next one is. Takes
 * `sliceMs` of a turn at most.
 * @param durable resolves when everything the state holds is durable: the end of it is not given before
 */
export function saveState(
  moment: StateMoment,
  pages: PageSnapshot,
  durable: () => Promise<void>,
  clock: Clock,
  sliceMs: number,
): AsyncIterable<Uint8Array> {
  return sliced(chunksOf(moment, pages), durable, clock, sliceMs);
}

function* chunksOf(moment: StateMoment, pages: PageSnapshot): Generator<Uint8Array | undefined, void, undefined> {
  const block = new TlvWriter().u32(MAGIC).u32(VERSION);
  yield Buffer.from(block.written);
  block.reset();
  let objects = 0;
  for (const _ of moment.encode(block)) {
    if (block.length >= BLOCK_BYTES) {
      yield new TlvWriter().u32(block.length).written;
      yield block.written;
      block.reset();
    }
    if ((++objects & 63) === 0) yield undefined;
  }
  yield new TlvWriter().u32(block.length).written;
  yield block.written;
  yield new TlvWriter().u32(0).written;
  yield* pages.chunks();
}

async function* sliced(
  chunks: Generator<Uint8Array | undefined, void, undefined>,
  durable: () => Promise<void>,
  clock: Clock,
  sliceMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let until = clock.monotonic() + sliceMs;
  for (const chunk of chunks) {
    if (chunk !== undefined) yield chunk;
    if (clock.monotonic() < until) continue;
    await new Promise<void>((resolve) => clock.soon(resolve));
    until = clock.monotonic() + sliceMs;
  }
  await durable();
}

/** Load the states of a checkpoint and its deltas, the oldest first, into an empty broker. */
export async function loadState(topology: Topology, states: readonly AsyncIterable<Buffer>[]): Promise<void> {
  const { loggedIndex } = topology.engine.bodies;
  let blocks: Buffer[] = [];
  for (const state of states) {
    const reader = new ChunkReader(state);
    blocks = await readBlocks(reader);
    await loggedIndex.pages.load(reader);
  }
  if (states.length === 0) return;
  loggedIndex.rebuild();
  // Each state names all objects: the newest one counts.
  for (const block of blocks) {
    const from = new TlvReader(block);
    while (!from.ended) readObject(topology, from);
  }
  for (const log of topology.entryLogs()) log.adopt();
}

async function readBlocks(reader: ChunkReader): Promise<Buffer[]> {
  const head = await reader.read(8);
  if (head.readUInt32LE(0) !== MAGIC) throw new CoreError('journal-corrupt', 'checkpoint: not a state of the broker');
  const version = head.readUInt32LE(4);
  if (version !== VERSION) throw new CoreError('journal-version', `checkpoint: state of version ${version}`);
  const blocks: Buffer[] = [];
  for (;;) {
    const length = (await reader.read(4)).readUInt32LE(0);
    if (length === 0) return blocks;
    blocks.push(await reader.read(length));
  }
}

function readObject(topology: Topology, from: TlvReader): void {
  const kind = from.u8();
  switch (kind) {
    case OBJECT.counters:
      topology.used(from.f64());
      break;
    case OBJECT.vhost:
      topology.addVhost(from.u32(), from.text());
      break;
    case OBJECT.exchange:
      addStoredExchange(topology, from);
      break;
    case OBJECT.queue:
      addStoredQueue(topology, from, from.u32());
      break;
    case OBJECT.entryLog:
      addStoredLog(topology, from, from.u32());
      break;
    case MARK_OBJECT.seenIds:
    case MARK_OBJECT.lastValues:
      loadMarkObject(topology, kind, from);
      break;
    case OBJECT.policy:
      addStoredPolicy(topology, from);
      break;
    case OBJECT.liveRules:
      setStoredLiveRules(topology, from);
      break;
    case OBJECT.redrive:
      topology.redrives.load(from);
      break;
    case OBJECT.deferred:
      readDeferred(from, topology);
      break;
    case OBJECT.binding:
      bindStored(topology, from);
      break;
    case OBJECT.retained: {
      const exchange = topology.exchangesById.get(from.u32());
      const row = from.u32();
      const separator = from.u8();
      exchange?.retain(new Key(from.text(), separator), { row, info: 0 });
      return;
    }
    default:
      if (kind >= TOPIC_OBJECT_FIRST && kind <= TOPIC_OBJECT_LAST) loadTopicObject(topology.topics, kind, from);
      else if (kind >= HALF_OBJECT_FIRST && kind <= HALF_OBJECT_LAST) loadHalfObject(topology.halves, kind, from);
      else throw new CoreError('journal-corrupt', `checkpoint: an object of kind ${kind}`);
  }
}

// Shared with replay: the same fields stand in records.

export function addStoredExchange(topology: Topology, from: TlvReader): void {
  const { id, vhostId, name, settings } = readExchange(from);
  const vhost = topology.vhostsById.get(vhostId);
  if (vhost !== undefined) topology.addExchange(vhost, id, name, settings, false);
}

/** @param row its ring in the loaded pages; undefined makes a new one */
export function addStoredQueue(topology: Topology, from: TlvReader, row?: number): void {
  const { id, vhostId, name, settings } = readQueue(from);
  const vhost = topology.vhostsById.get(vhostId);
  if (vhost === undefined) return;
  const ring = row === undefined ? undefined : topology.engine.bodies.loggedIndex.rings.open(row);
  topology.addQueue(vhost, id, name, settings, ring);
}

/** @param row its ring in the loaded pages; undefined makes a new one */
export function addStoredLog(topology: Topology, from: TlvReader, row?: number): void {
  const { id, queueId, kind, value } = readLog(from);
  const queue = topology.queuesById.get(queueId);
  if (queue === undefined) return;
  const ring = row === undefined ? undefined : topology.engine.bodies.loggedIndex.rings.open(row);
  if (kind === 'level') topology.addLane(queue, id, value, ring);
  else topology.addSlot(queue, id, value, ring);
}

export function bindStored(topology: Topology, from: TlvReader): void {
  const binding = readBinding(from);
  const source = topology.exchangesById.get(binding.sourceId);
  const vhost = topology.homes.get(binding.sourceId);
  if (source === undefined || vhost === undefined) return;
  const { pattern, kind } = binding;
  const filter = bindingFilter(binding.arguments, NO_FILTER_LIMITS);
  if (kind === 'queue') {
    const target = topology.queuesById.get(binding.targetId);
    if (target !== undefined) vhost.router.bind(source, { kind, target }, pattern, binding.arguments, filter);
  } else if (kind === 'topic') {
    const target = topology.topics.topic(binding.targetId);
    if (target !== undefined) vhost.router.bind(source, { kind, target }, pattern, binding.arguments, filter);
  } else {
    const target = topology.exchangesById.get(binding.targetId);
    if (target !== undefined) vhost.router.bind(source, { kind, target }, pattern, binding.arguments, filter);
  }
}
