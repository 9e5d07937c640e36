/**
 * Committing a half: every message is routed as if it were published now, and all of them enter their queues and topics with one
 * record. Bodies stay where they are; the references move. What a restart forgets (transient queues, taps) sees nothing before
 * that record is durable, so that nobody ever sees a part of a half that was not committed.
 */

import { delayInfo } from '../delay/info.ts';
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import type { Exchange } from '../exchange-entity.ts';
import { hubOf } from '../hub.ts';
import type { BodyRef } from '../journal/journal.ts';
import { MessageMarks, replayMarks } from '../marks/marking.ts';
import { exchangeName, FLAG_DURABLE, keyText, Message, RoutingKey } from '../message.ts';
import { entryLogs, type Plan, planOf } from '../plan.ts';
import type { Claim } from '../queue/bound.ts';
import type { EntryLog } from '../queue/entry-log.ts';
import type { Queue } from '../queue/queue.ts';
import { enteredAt, readStored } from '../stored-message.ts';
import { type TlvReader, TlvWriter } from '../tlv.ts';
import type { Partition } from '../topic/partition.ts';
import type { Vhost } from '../vhost.ts';
import type { StoredBody } from './bodies.ts';
import type { Half, HalfPart } from './half.ts';
import { HALF_RECORD, readRoutes, type StoredRoute, writeRoutes } from './records.ts';

/** All messages are looked at through this one view, one at a time. */
const view = new Message();
const record = new TlvWriter();
const NO_MARKS = Buffer.alloc(0);

/** Where one message goes. */
interface Route {
  readonly part: HalfPart;
  readonly exchange: Exchange;
  readonly key: RoutingKey;
  readonly leadsNowhere: boolean;
  readonly marks: MessageMarks | undefined;
  readonly plan: Plan;
  readonly length: number;
  readonly logged: readonly Queue[];
  readonly transient: readonly Queue[];
  readonly partitions: readonly Partition[];
  /** Queues that may refuse it. */
  readonly guarded: readonly Queue[];
  /** Takes the place of the prepared form: a queue must know when the message came to it, or replay what marks it has. */
  readonly copy: Buffer | undefined;
  /** For taps; they get it when the record is durable. */
  readonly told: Buffer | undefined;
}

/**
 * Write the record that ends `half`, and enter its messages. Throws, with nothing done: `not-found` (an exchange is gone),
 * `unroutable` (a mandatory message), `limit-exceeded` (a queue is full), `invalid-argument` (no such partition).
 * @param bodies its messages
 */
export function commitHalf(half: Half, bodies: readonly StoredBody[]): void {
  const { vhost } = half.group;
  const routes = half.state.parts.map((part, n) => routeOf(half, part, bodies[n] as StoredBody));
  checkRoom(half, routes);
  enter(half, routes, bodies);
  for (const { exchange, leadsNowhere } of routes) {
    vhost.counters.published++;
    exchange.published++;
    if (leadsNowhere) vhost.counters.unroutable++;
  }
}

// ---- Routing ------------------------------------------------------------------------------------------------------

function routeOf(half: Half, part: HalfPart, body: StoredBody): Route {
  const { vhost } = half.group;
  const { engine } = vhost;
  show(engine, part, body);
  const name = exchangeName(view);
  const exchange = vhost.router.get(name);
  if (exchange === undefined) {
    throw new CoreError('not-found', `exchange '${name}' of ${half.name}; it can still be rolled back`);
  }
  const key = keyOfView();
  const routed = planFor(vhost, exchange, key);
  const wanted = view.deliverAtMs > engine.now() ? routed.delayed(name, key.text) : routed;
  if (part.mandatory && wanted.leadsNowhere) {
    throw new CoreError('unroutable', `'${key.text}' on exchange '${name}', of ${half.name}`);
  }
  const marks = wanted.marked ? marksFor(engine, wanted, name, key) : undefined;
  const plan = marks?.plan ?? wanted;
  const length = body.end - body.start;
  const isTimed = plan.queues.some(({ rules }) => rules.messageTtlMs !== Number.POSITIVE_INFINITY);
  const ext = marks?.ext ?? NO_MARKS;
  if (view.expiresAtMs !== 0) for (const queue of plan.queues) queue.expires = true;
  return {
    part,
    exchange,
    key,
    length,
    leadsNowhere: wanted.leadsNowhere,
    marks,
    plan,
    guarded: plan.guarded,
    logged: plan.logged,
    transient: plan.transient,
    partitions: plan.topics.map((topic) => topic.choose(view, name, key, length)),
    copy: isTimed || ext.length > 0 ? enteredAt(view, engine.now(), ext) : undefined,
    told: plan.taps.length > 0 ? Buffer.from(body.bytes.subarray(body.start, body.end)) : undefined,
  };
}

/** The last routing key met: the messages of a producer go to few places. */
let lastKey = new RoutingKey('', 0);

function keyOfView(): RoutingKey {
  const text = keyText(view);
  if (text !== lastKey.text || view.separator !== lastKey.separator) lastKey = new RoutingKey(text, view.separator);
  return lastKey;
}

/** What queues that remember ids or keep last values need to know of the message in view. */
function marksFor(engine: Engine, plan: Plan, exchange: string, key: RoutingKey): MessageMarks {
  const facts = { exchange, key: key.text, receivedAtMs: view.receivedAtMs };
  return new MessageMarks(plan, view, hubOf(engine.formats, view), facts, engine.now());
}

function show(engine: Engine, part: HalfPart, body: StoredBody): void {
  readStored(view, body.bytes, body.start, body.end);
  view.id = engine.bodies.nextId();
  view.partition = part.partition;
  // Its body is in the journal, whatever was asked for: so are its entries in queues that survive a restart.
  view.flags |= FLAG_DURABLE;
}

function planFor(vhost: Vhost, exchange: Exchange, key: RoutingKey): Plan {
  const properties = () => hubOf(vhost.engine.formats, view);
  return planOf(vhost.router.route(exchange, key, properties, view.receivedAtMs));
}

/** All or none: a queue that refuses one message refuses the half. */
function checkRoom(half: Half, routes: readonly Route[]): void {
  if (routes.every(({ guarded }) => guarded.length === 0)) return;
  const claims = new Map<Queue, Claim>();
  for (const { guarded, length } of routes) {
    for (const queue of guarded) {
      const before = claims.get(queue) ?? { messages: 0, bytes: 0 };
      if (queue.bound?.refuses(length, before)) {
        throw new CoreError('limit-exceeded', `queue '${queue.name}' has no room for all of ${half.name}`);
      }
      claims.set(queue, { messages: before.messages + 1, bytes: before.bytes + length });
    }
  }
}

// ---- Entering -----------------------------------------------------------------------------------------------------

function enter(half: Half, routes: readonly Route[], bodies: readonly StoredBody[]): void {
  const { vhost } = half.group;
  const { engine } = vhost;
  const { journal } = engine;
  // What is staged for topics has its offsets, and goes before.
  engine.flushStaged();
  const entries = routes.map((route, n) => entriesOf(engine, route, bodies[n] as StoredBody));
  for (const { logged } of entries) for (const log of logged) log.beforeLogged();
  const nowMs = engine.now();
  writeRoutes(
    record.reset().f64(half.facts.number).f64(nowMs),
    routes.map((route, n) => storedRoute(route, entries[n] as Entries)),
  );
  const copyBytes = routes.reduce((sum, { copy }) => sum + (copy?.length ?? 0), 0);
  let at = journal.append(HALF_RECORD.commit, record.length + copyBytes);
  record.copyTo(journal.bytes, at);
  at += record.length;
  const { bytes, segment } = journal;
  let offset = journal.offset + record.length;
  for (const { copy } of routes) at += copy?.copy(bytes, at) ?? 0;
  const batch = engine.wrote();
  for (const [n, route] of routes.entries()) {
    enterOne(engine, route, entries[n] as Entries, { batch, nowMs, segment, offset });
    if (route.marks !== undefined) {
      show(engine, route.part, bodies[n] as StoredBody);
      route.marks.end(route.plan, view, nowMs);
    }
    offset += route.copy?.length ?? 0;
  }
  const told = routes.filter((route) => route.told !== undefined);
  if (told.length > 0) engine.afterBatch(batch, () => tell(vhost, told));
}

/** The record of a commit; where a copy of the message stands in the journal, if there is one. */
interface Commit {
  readonly batch: number;
  readonly nowMs: number;
  readonly segment: number;
  readonly offset: number;
}

function enterOne(engine: Engine, route: Route, { logged, transient, info }: Entries, commit: Commit): void {
  const { copy, partitions } = route;
  const { logged: table, transient: transientTable } = engine.bodies;
  const { row } = route.part;
  const { batch, nowMs } = commit;
  const group = table.flags(row);
  if (group !== 0) for (const queue of [...route.logged, ...route.transient]) queue.mindGroups();
  const length = copy?.length ?? route.length;
  const { segment, offset } = copy === undefined ? { segment: table.segment(row), offset: table.offset(row) } : commit;
  route.marks?.begin();
  // Entries that a restart forgets have a row of their own, so that counts in logged rows are those of logged entries.
  const count = transient.length;
  const other = count === 0 ? 0 : transientTable.add(segment, offset, length, count, group);
  for (const log of transient) {
    log.hold(batch);
    log.pushTransient(other, length, info);
  }
  const moved = copy === undefined ? undefined : { segment, offset, length };
  const kept = handOver(engine, row, moved, logged.length + partitions.length);
  for (const log of logged) log.pushLogged(kept, length, batch, info);
  for (const partition of partitions) partition.loggedBare(kept, length, nowMs, batch);
}

/** Where one message comes into its queues. */
interface Entries {
  readonly logged: readonly EntryLog[];
  readonly transient: readonly EntryLog[];
  readonly info: number;
}

function entriesOf(engine: Engine, { part, logged, transient }: Route, body: StoredBody): Entries {
  show(engine, part, body);
  const info = delayInfo(view, engine.now());
  return { logged: entryLogs(logged, view), transient: entryLogs(transient, view), info };
}

function storedRoute({ partitions, copy }: Route, { logged, info }: Entries): StoredRoute {
  return {
    logIds: logged.map((log) => log.id),
    partitionIds: partitions.map((partition) => partition.id),
    copyBytes: copy?.length ?? 0,
    info,
  };
}

/** Turn the one reference of a half into `refs`, to its body or to the copy that takes its place. Answers the row. */
function handOver({ bodies }: Engine, row: number, copy: BodyRef | undefined, refs: number): number {
  const { logged } = bodies;
  if (copy === undefined && refs > 0) {
    logged.addRef(row, refs - 1);
    return row;
  }
  const group = logged.flags(row);
  bodies.release(row, 0);
  return copy === undefined || refs === 0 ? 0 : logged.add(copy.segment, copy.offset, copy.length, refs, group);
}

/** The commit is durable: taps may know. */
function tell(vhost: Vhost, routes: readonly Route[]): void {
  for (const { exchange, key, told } of routes) {
    if (told === undefined || vhost.router.get(exchange.name) !== exchange) continue;
    readStored(view, told, 0, told.length);
    view.id = vhost.engine.bodies.nextId();
    for (const tap of planFor(vhost, exchange, key).taps) tap.deliver(view);
  }
}

// ---- Replay -------------------------------------------------------------------------------------------------------

/** A record in the log: `bytes[start, end)`, whose start is at `offset` in a segment. */
export interface RecordPlace {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly segment: number;
  readonly offset: number;
}

/** What COMMIT says, done again. @param from behind the number */
export function replayCommit(half: Half, from: TlvReader, { bytes, start, end, segment, offset }: RecordPlace): void {
  const { topology, engine } = half.group.vhost;
  const timeMs = from.f64();
  const routes = readRoutes(from);
  let at = end - routes.reduce((sum, { copyBytes }) => sum + copyBytes, 0);
  for (const [n, { logIds, partitionIds, copyBytes, info }] of routes.entries()) {
    const { row } = half.state.parts[n] as HalfPart;
    const logs = logIds.flatMap((id) => topology.entryLog(id) ?? []);
    const partitions = partitionIds.flatMap((id) => topology.topics.partition(id) ?? []);
    const length = copyBytes === 0 ? engine.bodies.logged.length(row) : copyBytes;
    const copy = copyBytes === 0 ? undefined : { segment, offset: offset + at - start, length };
    const kept = handOver(engine, row, copy, logs.length + partitions.length);
    for (const log of logs) log.replayPush(kept, length, info);
    for (const partition of partitions) partition.replayedBare(kept, length, timeMs);
    if (copyBytes > 0) replayMarks(bytes, at, logs);
    at += copyBytes;
  }
}
