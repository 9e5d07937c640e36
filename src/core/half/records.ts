/** Records and checkpoint objects of half messages (docs/disk-format-records.md). Types 36 to 41 belong to them. */
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { HalfOp } from './door.ts';
import type { HalfFacts, HalfPart, HalfState } from './half.ts';

export const HALF_RECORD = {
  /** number f64, is new u8, [virtual host u32, group text, facts, next check f64], messages, their stored forms. */
  prepare: 36,
  /** number f64, time f64 ms, for each message where it went, copies of messages. */
  commit: 37,
  /** number f64. */
  rollback: 38,
  /** number f64, checks varint, next check f64. */
  checked: 39,
  /** virtual host u32, group text, address text; empty = none. */
  callback: 40,
} as const;

export const HALF_RECORD_FIRST = 36;
export const HALF_RECORD_LAST = 41;
/** Kinds of objects in a checkpoint. */
export const HALF_OBJECT = { half: 12, finished: 13, callback: 14, counter: 15 } as const;
export const HALF_OBJECT_FIRST = 12;
export const HALF_OBJECT_LAST = 15;

/** What a record or an object says of one half, beside its messages. */
export interface StoredHalf {
  readonly vhostId: number;
  readonly group: string;
  readonly facts: HalfFacts;
  readonly checks: number;
  readonly nextCheckMs: number;
}

/** A message in PREPARE. */
export interface PreparedLength {
  readonly length: number;
  readonly mandatory: boolean;
  readonly partition: number;
}

/** Where one message went, as COMMIT has it. */
export interface StoredRoute {
  readonly logIds: readonly number[];
  readonly partitionIds: readonly number[];
  /** Bytes of a copy in the record that took the place of the prepared form; 0 = none did. */
  readonly copyBytes: number;
  /** Of its entries: when it is due, in delay slots (delay/info.ts). */
  readonly info: number;
}

/** Everything of a half but its messages, in PREPARE of a new one and in checkpoints. */
export function writeHalf(out: TlvWriter, { half, checks, nextCheckMs }: HalfState): void {
  const { group, facts } = half;
  out.f64(facts.number).u32(group.vhost.id).text(group.name).text(facts.id);
  out.f64(facts.preparedAtMs).f64(facts.checkEveryMs).varint(facts.checksMax).varint(checks).f64(nextCheckMs);
}

export function readHalf(from: TlvReader): StoredHalf {
  const number = from.f64();
  const vhostId = from.u32();
  const group = from.text();
  const facts = {
    ...{ number, id: from.text(), preparedAtMs: from.f64() },
    ...{ checkEveryMs: from.f64(), checksMax: from.varint() },
  };
  return { vhostId, group, facts, checks: from.varint(), nextCheckMs: from.f64() };
}

export function writeLengths(out: TlvWriter, messages: readonly PreparedLength[]): void {
  out.varint(messages.length);
  for (const { length, mandatory, partition } of messages)
    out
      .varint(length)
      .flag(mandatory)
      .varint(partition + 1);
}

export function readLengths(from: TlvReader): PreparedLength[] {
  return Array.from({ length: from.varint() }, () => {
    return { length: from.varint(), mandatory: from.flag(), partition: from.varint() - 1 };
  });
}

export function writeParts(out: TlvWriter, parts: readonly HalfPart[]): void {
  out.varint(parts.length);
  for (const { row, mandatory, partition } of parts)
    out
      .u32(row)
      .flag(mandatory)
      .varint(partition + 1);
}

export function readParts(from: TlvReader): HalfPart[] {
  return Array.from({ length: from.varint() }, () => {
    return { row: from.u32(), mandatory: from.flag(), partition: from.varint() - 1 };
  });
}

export function writeRoutes(out: TlvWriter, routes: readonly StoredRoute[]): void {
  out.varint(routes.length);
  for (const { logIds, partitionIds, copyBytes, info } of routes) {
    out.varint(logIds.length);
    for (const id of logIds) out.u32(id);
    out.varint(partitionIds.length);
    for (const id of partitionIds) out.u32(id);
    out.varint(copyBytes).varint(info);
  }
}

export function readRoutes(from: TlvReader): StoredRoute[] {
  const ids = (): number[] => Array.from({ length: from.varint() }, () => from.u32());
  return Array.from({ length: from.varint() }, () => {
    return { logIds: ids(), partitionIds: ids(), copyBytes: from.varint(), info: from.varint() };
  });
}

/** Places in this list, counted from 1, are on disk. */
const OUTCOMES: readonly HalfOp[] = ['commit', 'rollback'];

export function writeFinished(out: TlvWriter, vhostId: number, group: string, id: string, outcome: HalfOp): void {
  out
    .u32(vhostId)
    .text(group)
    .text(id)
    .u8(OUTCOMES.indexOf(outcome) + 1);
}

export interface StoredFinish {
  readonly vhostId: number;
  readonly group: string;
  readonly id: string;
  readonly outcome: HalfOp;
}

export function readFinished(from: TlvReader): StoredFinish {
  const vhostId = from.u32();
  const group = from.text();
  const id = from.text();
  return { vhostId, group, id, outcome: OUTCOMES[from.u8() - 1] ?? 'rollback' };
}

export function writeCallback(out: TlvWriter, vhostId: number, group: string, address: string): void {
  out.u32(vhostId).text(group).text(address);
}
