/**
 * The death history of a message: which queues gave it up, why, how often and when. It is kept in the `ext` part of the stored
 * form, so that it goes wherever the message goes, and is shown to consumers as annotations (docs/queue-rules.md "Dead letters").
 */
import { exchangeName, FLAG_DIED, type HubProperties, type HubValue, keyText, type Message } from './message.ts';
import { EXT_DEATHS, extValue } from './stored-message.ts';
import { TlvReader, TlvWriter } from './tlv.ts';

/** Why a queue gave a message up. Places in this list, counted from 1, are on disk. */
const REASONS = ['rejected', 'expired', 'maxlen', 'delivery_limit'] as const;
export type DeathReason = (typeof REASONS)[number];

/** Bytes a history may have; the oldest deaths are forgotten beyond it. The whole `ext` part has 65,535. */
const HISTORY_BYTES_MAX = 60_000;

/** All deaths in one queue for one reason. */
interface Death {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Exchange and routing key the message had when it died here first. */
  readonly exchange: string;
  readonly key: string;
  /** The time to live it had of its own, which it has lost by dying. */
  readonly ttlMs: number | undefined;
}

type Place = Pick<Death, 'queue' | 'reason' | 'exchange'>;

export interface DeathHistory {
  /** The newest first; one for each queue and reason. */
  readonly deaths: readonly Death[];
  readonly first: Place;
}

/** Number of a reason, from 1, in an entry's info and on disk. */
export function codeOf(reason: DeathReason): number {
  return REASONS.indexOf(reason) + 1;
}

/** @param code see `codeOf` */
export function reasonOf(code: number): DeathReason {
  return REASONS[code - 1] ?? 'rejected';
}

/** The history of a message, or undefined when it never died. */
export function historyOf(message: Message): DeathHistory | undefined {
  if ((message.flags & FLAG_DIED) === 0) return undefined;
  const from = new TlvReader(extValue(message, EXT_DEATHS));
  const first = readPlace(from);
  const deaths: Death[] = [];
  while (!from.ended) {
    const place = readPlace(from);
    const death = { ...place, count: from.varint(), firstMs: from.f64(), lastMs: from.f64(), key: from.text() };
    const ttlMs = from.f64();
    deaths.push({ ...death, ttlMs: ttlMs < 0 ? undefined : ttlMs });
  }
  return { deaths, first };
}

function readPlace(from: TlvReader): Place {
  return { queue: from.text(), reason: reasonOf(from.u8()), exchange: from.text() };
}

/** The history of `message` after one more death, now. @param ttlMs the time to live it had of its own */
export function afterDeath(
  message: Message,
  queue: string,
  reason: DeathReason,
  nowMs: number,
  ttlMs: number | undefined,
): DeathHistory {
  const before = historyOf(message);
  const known = before?.deaths.find((death) => death.queue === queue && death.reason === reason);
  const others = before?.deaths.filter((death) => death !== known) ?? [];
  const exchange = exchangeName(message);
  const fresh = { queue, reason, count: 1, firstMs: nowMs, lastMs: nowMs, exchange, key: keyText(message), ttlMs };
  const newest = known === undefined ? fresh : { ...known, count: known.count + 1, lastMs: nowMs };
  return { deaths: [newest, ...others], first: before?.first ?? { queue, reason, exchange } };
}

/** A history as it is stored. */
export function encodeHistory(history: DeathHistory): Buffer {
  const out = new TlvWriter();
  writePlace(out, history.first);
  for (const death of history.deaths) {
    const end = out.length;
    writePlace(out, death).varint(death.count).f64(death.firstMs).f64(death.lastMs).text(death.key);
    out.f64(death.ttlMs ?? -1);
    if (out.length > HISTORY_BYTES_MAX && end > 0) return Buffer.from(out.written.subarray(0, end));
  }
  return Buffer.from(out.written);
}

function writePlace(out: TlvWriter, place: Place): TlvWriter {
  return out.text(place.queue).u8(codeOf(place.reason)).text(place.exchange);
}

/** Whether a message with this history has come round to `queue` again without anybody rejecting it on the way: it would
 *  do so for ever. */
export function isCycle(history: DeathHistory, queue: string): boolean {
  for (const death of history.deaths) {
    if (death.reason === 'rejected') return false;
    if (death.queue === queue) return true;
  }
  return false;
}

/** Show a message's history in its hub form. Its own time to live is no longer in force, so it is not shown. */
export function annotate(hub: HubProperties, history: DeathHistory): void {
  delete hub.ttlMs;
  delete hub.absoluteExpiryMs;
  const { annotations } = hub;
  annotations.set('x-death', history.deaths.map(deathValue));
  showPlace(annotations, 'x-first-death', history.first);
  const last = history.deaths[0];
  if (last !== undefined) showPlace(annotations, 'x-last-death', last);
}

function deathValue(death: Death): { [name: string]: HubValue } {
  const { queue, reason, count, exchange, key, ttlMs } = death;
  const value = { queue, reason, count, time: new Date(death.firstMs), exchange, 'routing-keys': [key] };
  const last = death.count > 1 ? { 'last-time': new Date(death.lastMs) } : {};
  return { ...value, ...last, ...(ttlMs === undefined ? {} : { 'original-expiration': String(ttlMs) }) };
}

function showPlace(annotations: Map<string, HubValue>, prefix: string, place: Place): void {
  annotations.set(`${prefix}-queue`, place.queue);
  annotations.set(`${prefix}-reason`, place.reason);
  annotations.set(`${prefix}-exchange`, place.exchange);
}
