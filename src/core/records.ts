/**
 * The core's records in the journal (types 16 and up; 1 to 15 are the journal's own). They say what happened, never what
 * was asked: targets are resolved ids, so replay neither routes nor reads a clock. Layouts are in docs/disk-format-records.md.
 */
import type { Arguments, ExchangeSettings, QueueSettings } from './door.ts';
import { CoreError } from './errors.ts';
import type { Pattern } from './message.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { TlvReader, TlvWriter } from './tlv.ts';

/** Queues and their entries: an entry log (queue/entry-log.ts) has the number of its queue, or one of its own. */
export const RECORD = {
  vhostCreate: 16,
  vhostDelete: 17,
  exchangeDeclare: 18,
  exchangeDelete: 19,
  queueDeclare: 20,
  queueDelete: 21,
  bind: 22,
  unbind: 23,
  /** setId u32, then log ids u32: named by later PUBLISH records. */
  targetSet: 24,
  /** count u16, bits u16, [exchange id u32 when retained], [set id u32] or count log ids u32, then the stored message. */
  publish: 25,
  /** A stored message that need not survive: only its bytes are kept here. Ignored by replay. */
  spill: 26,
  /** log u32, then { first as zigzag varint from the end of the previous range, count varint }. */
  settle: 27,
  /** log u32, tail f64: the next position the log gives; those skipped held messages that were not logged. */
  gap: 28,
  /** log u32, then { first as zigzag varint, count varint, info varint }: deliveries that came back. */
  return: 29,
  /** exchange u32, separator u8, key text: the last value of a key is gone. */
  unretain: 30,
  /** log u32, position f64, then as PUBLISH: that queue gave the message up, and in the same moment others have it. */
  move: 31,
  /** log id u32, queue u32, kind u8 (an index into LOG_KINDS), value f64: an entry log beside the first one of the queue. */
  openLog: 32,
  /** from and to (log ids u32), then ranges as in RETURN: entries that went from one entry log to another, with new info. */
  transfer: 33,
  /** log u32: it is there no more, nor is what was still in it. */
  closeLog: 34,
  /** log u32, count varint, then { position, due ms }, each as zigzag varint from the one before: entries that wait. */
  defer: 52,
  /** queue u32: it has forgotten the message ids it remembered. */
  forgetIds: 48,
  /** publishes u32, settled u32: the records of a transaction follow, in the same batch. Ignored by replay. */
  transaction: 42,
  /** See redrive/job.ts. */
  redrive: 56,
  /** redrive u32: it has moved one more message. */
  redriveMoved: 57,
  /** redrive u32, skipped f64, left f64, then how it has ended. */
  redriveEnd: 58,
  /** See policy/stored.ts. */
  policySet: 44,
  policyDelete: 45,
  liveRules: 46,
} as const;

/** Bytes of a MOVE in front of what it has in common with PUBLISH. */
export const MOVE_HEAD_BYTES = 12;
/** Bits in the second word of PUBLISH. */
export const PUBLISH_RETAIN = 1;
export const PUBLISH_TARGET_SET = 2;
/** Queue ids that are written into the record itself; more are named by a TARGETSET. */
export const INLINE_TARGETS_MAX = 16;

const EXCHANGE_KINDS = ['direct', 'fanout', 'topic', 'headers'] as const;

export function writeExchange(
  out: TlvWriter,
  id: number,
  vhostId: number,
  name: string,
  settings: ExchangeSettings,
): void {
  out.u32(id).u32(vhostId).text(name).u8(EXCHANGE_KINDS.indexOf(settings.kind));
  out.flag(settings.durable).flag(settings.autoDelete).flag(settings.internal);
  out
    .flag(settings.alternate !== undefined)
    .text(settings.alternate ?? '')
    .table(settings.arguments);
}

export interface StoredExchange {
  id: number;
  vhostId: number;
  name: string;
  settings: ExchangeSettings;
}

export function readExchange(from: TlvReader): StoredExchange {
  const id = from.u32();
  const vhostId = from.u32();
  const name = from.text();
  const kind = EXCHANGE_KINDS[from.u8()] ?? 'direct';
  const durable = from.flag();
  const autoDelete = from.flag();
  const internal = from.flag();
  const hasAlternate = from.flag();
  const alternate = from.text();
  const settings = { kind, durable, autoDelete, internal, arguments: from.table() };
  return { id, vhostId, name, settings: hasAlternate ? { ...settings, alternate } : settings };
}

export function writeQueue(out: TlvWriter, id: number, vhostId: number, name: string, settings: QueueSettings): void {
  out.u32(id).u32(vhostId).text(name);
  out.flag(settings.durable).flag(settings.autoDelete).flag(settings.exclusive).table(settings.arguments);
}

export interface StoredQueue {
  id: number;
  vhostId: number;
  name: string;
  settings: QueueSettings;
}

export function readQueue(from: TlvReader): StoredQueue {
  const id = from.u32();
  const vhostId = from.u32();
  const name = from.text();
  const durable = from.flag();
  const autoDelete = from.flag();
  const exclusive = from.flag();
  return { id, vhostId, name, settings: { durable, autoDelete, exclusive, arguments: from.table() } };
}

/** Signed numbers as varints: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... Safe up to 2^52. */
export function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** What a binding may lead to; the places are the codes on disk. */
const BINDING_KINDS = ['queue', 'exchange', 'topic'] as const;

/** What BIND and UNBIND need of a binding between things that survive a restart. */
export interface StoredEnds {
  readonly source: { readonly id: number };
  readonly kind: 'queue' | 'exchange' | 'topic' | 'tap';
  readonly target: unknown;
  readonly pattern: Pattern;
  readonly arguments: Arguments;
}

export function writeBinding(out: TlvWriter, binding: StoredEnds): void {
  const target = binding.target as { readonly id: number };
  out
    .u32(binding.source.id)
    .u8(BINDING_KINDS.indexOf(binding.kind as StoredBinding['kind']))
    .u32(target.id);
  out.pattern(binding.pattern).table(binding.arguments);
}

export interface StoredBinding {
  sourceId: number;
  kind: 'queue' | 'exchange' | 'topic';
  targetId: number;
  pattern: Pattern;
  arguments: Arguments;
}

export function readBinding(from: TlvReader): StoredBinding {
  const sourceId = from.u32();
  const kind = BINDING_KINDS[from.u8()] ?? 'exchange';
  return { sourceId, kind, targetId: from.u32(), pattern: from.pattern(), arguments: from.table() };
}

/** What an entry log is for. `level`: its value is the priority; `delay`: when the span of time begins, in ms. */
const LOG_KINDS = ['level', 'delay'] as const;
export type LogKind = (typeof LOG_KINDS)[number];

/** An entry log beside the first one of its queue. */
export interface StoredLog {
  readonly id: number;
  readonly queueId: number;
  readonly kind: LogKind;
  readonly value: number;
}

export function writeLog(out: TlvWriter, log: EntryLog): void {
  out.u32(log.id).u32(log.queue.id).u8(LOG_KINDS.indexOf(log.kind)).f64(log.value);
}

export function readLog(from: TlvReader): StoredLog {
  const id = from.u32();
  const queueId = from.u32();
  const kind = LOG_KINDS[from.u8()];
  if (kind === undefined) throw new CoreError('journal-corrupt', 'an entry log of an unknown kind');
  return { id, queueId, kind, value: from.f64() };
}
