/**
 * Where messages for topics wait until the turn ends, each partition's together: what was appended to a partition in a turn, or
 * during a commit, becomes one record of the journal, however the partitions took turns. So a message costs one copy more and
 * neither a record nor an index entry of its own. Everything staged is logged at once, and confirmed by the same batch. It need
 * not wait when a run is long: it is still in the processor's cache then, where copying it costs next to nothing.
 */
import { copyBytes, writeU32 } from '../bytes.ts';
import type { Engine } from '../engine.ts';
import type { Message, MessageOrigin } from '../message.ts';
import type { Template } from '../stored-message.ts';
import { BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, writeBatchHeader } from './frames.ts';
import type { Partition } from './partition.ts';
import { TOPIC_RECORD } from './records.ts';
import { RUN_BYTES_MAX, RUN_MESSAGES_MAX } from './runs.ts';

/** What may wait; everything is logged when it is full. */
const STAGE_BYTES = 1024 * 1024;
/** A partition begins with this much of it, and takes twice as much when that is full. */
const SLOT_BYTES_MIN = 1024;
/** When a partition with so much here gives way to another one, everything is logged. */
const RUN_BYTES_LONG = 32 * 1024;
/** Before the frames of a run, and what comes besides with ORIGIN_BIT: see TOPIC_RECORD.append. */
export const RUN_HEADER_BYTES = 16;
export const ORIGIN_BYTES = 16;
export const ORIGIN_BIT = 1;

/** Messages of one partition that wait: frames in `bytes[start, at)` of the stage. */
interface Slot {
  readonly partition: Partition;
  /** They are all of one idempotent producer, or of none; `sequence` is that of the first. */
  readonly origin: MessageOrigin | undefined;
  readonly sequence: number;
  start: number;
  at: number;
  end: number;
  count: number;
  newestMs: number;
}

/** Who waits for the batch that what it staged is in. */
export interface StageWaiter {
  /** Told in the midst of things: nothing may be published from within. */
  staged(batch: number): void;
}

export class Stage {
  readonly #engine: Engine;
  /** Made when first used. */
  #bytes: Buffer | undefined;
  #used = 0;
  readonly #slots = new Map<Partition, Slot>();
  /** The slot used last. */
  #slot: Slot | undefined;
  #waiters: StageWaiter[] = [];
  #flushing = false;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Append a message; its offset is `partition.end` before the call. */
  append(partition: Partition, template: Template, message: Message, length: number): void {
    const framed = FRAME_HEADER_BYTES + length;
    const now = this.#engine.now();
    const origin = message.sequence < 0 ? undefined : message.origin;
    if (origin !== undefined) partition.sequences.note(origin, message.sequence, 1, partition.end);
    if (framed > RUN_BYTES_MAX) {
      this.flush();
      const at = this.#record(partition, framed, 1, now, origin, message.sequence);
      const { bytes } = this.#engine.journal;
      writeU32(bytes, at, length);
      template.write(message, now, bytes, at + FRAME_HEADER_BYTES);
      partition.end++;
      return;
    }
    let slot = this.#slot;
    if (
      slot?.partition !== partition ||
      slot.origin !== origin ||
      slot.at + framed > slot.end ||
      slot.count === RUN_MESSAGES_MAX
    ) {
      slot = this.#roomFor(partition, framed, origin, message.sequence);
    }
    const bytes = this.#bytes as Buffer;
    writeU32(bytes, slot.at, length);
    template.write(message, now, bytes, slot.at + FRAME_HEADER_BYTES);
    slot.at += framed;
    slot.count++;
    slot.newestMs = now;
    partition.end++;
  }

  /** Append a batch of `count` messages: a run of its own, logged at once. Answers the batch of the journal. */
  appendBatch(partition: Partition, template: Template, message: Message, length: number, count: number): number {
    if (this.#slots.size > 0) this.flush();
    const now = this.#engine.now();
    const origin = message.sequence < 0 ? undefined : message.origin;
    if (origin !== undefined) partition.sequences.note(origin, message.sequence, count, partition.end);
    const at = this.#record(partition, BATCH_HEADER_BYTES + length, count, now, origin, message.sequence);
    const { bytes } = this.#engine.journal;
    writeBatchHeader(bytes, at, length, count);
    template.write(message, now, bytes, at + BATCH_HEADER_BYTES);
    partition.end += count;
    return this.#engine.lastWritten;
  }

  /** Call `waiter.staged` once with the batch that everything staged now is in. */
  wait(waiter: StageWaiter): void {
    this.#waiters.push(waiter);
    // Nothing may be staged: a message too long to wait.
    this.#engine.staging(this);
  }

  /** The slot of a partition, with room for `framed` more bytes of an origin. */
  #roomFor(partition: Partition, framed: number, origin: MessageOrigin | undefined, sequence: number): Slot {
    const last = this.#slot;
    if (last !== undefined && last.partition !== partition && last.at - last.start >= RUN_BYTES_LONG) this.flush();
    let slot = this.#slots.get(partition);
    if (slot !== undefined) {
      const fits = slot.count < RUN_MESSAGES_MAX && slot.origin === origin && this.#grow(slot, framed);
      if (!fits) {
        this.flush();
        slot = undefined;
      }
    }
    slot ??= this.#newSlot(partition, framed, origin, sequence);
    this.#slot = slot;
    return slot;
  }

  /** Make room for `framed` more bytes in a slot. False: there is none. */
  #grow(slot: Slot, framed: number): boolean {
    const length = slot.at - slot.start;
    if (slot.at + framed <= slot.end) return true;
    if (length + framed > RUN_BYTES_MAX) return false;
    const bytes = Math.min(RUN_BYTES_MAX, Math.max((slot.end - slot.start) * 2, length + framed));
    // The newest one can stay where it is.
    const start = slot.end === this.#used ? slot.start : this.#used;
    if (start + bytes > STAGE_BYTES) return false;
    if (start !== slot.start) copyBytes(this.#bytes as Buffer, slot.start, slot.at, this.#bytes as Buffer, start);
    slot.start = start;
    slot.at = start + length;
    slot.end = this.#used = start + bytes;
    return true;
  }

  #newSlot(partition: Partition, framed: number, origin: MessageOrigin | undefined, sequence: number): Slot {
    const bytes = Math.max(SLOT_BYTES_MIN, framed);
    if (this.#used + bytes > STAGE_BYTES) this.flush();
    this.#bytes ??= Buffer.allocUnsafeSlow(STAGE_BYTES);
    const start = this.#used;
    this.#used += bytes;
    const slot = { partition, origin, sequence, start, at: start, end: this.#used, count: 0, newestMs: 0 };
    if (this.#slots.size === 0) this.#engine.staging(this);
    this.#slots.set(partition, slot);
    return slot;
  }

  /** Log what is staged, and tell those who wait which batch it is in. */
  flush(): void {
    // Logging may seal a batch, which asks for what is staged.
    if (this.#flushing || (this.#slots.size === 0 && this.#waiters.length === 0)) return;
    this.#flushing = true;
    try {
      for (const { partition, start, at, count, newestMs, origin, sequence } of this.#slots.values()) {
        if (partition.deleted) continue;
        const index = this.#record(partition, at - start, count, newestMs, origin, sequence);
        (this.#bytes as Buffer).copy(this.#engine.journal.bytes, index, start, at);
      }
    } finally {
      this.#slots.clear();
      this.#slot = undefined;
      this.#used = 0;
      this.#flushing = false;
    }
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.staged(this.#engine.lastWritten);
  }

  /** An APPEND record for a run of `length` bytes of frames; answers where they go in the journal's buffer. */
  #record(
    partition: Partition,
    length: number,
    count: number,
    newestMs: number,
    origin: MessageOrigin | undefined,
    sequence: number,
  ): number {
    const engine = this.#engine;
    const { journal } = engine;
    const header = RUN_HEADER_BYTES + (origin === undefined ? 0 : ORIGIN_BYTES);
    const at = journal.append(TOPIC_RECORD.append, header + length);
    const { bytes } = journal;
    writeU32(bytes, at, partition.id);
    writeU32(bytes, at + 4, count | (origin === undefined ? 0 : ORIGIN_BIT << 16));
    bytes.writeDoubleLE(newestMs, at + 8);
    if (origin !== undefined) {
      writeU32(bytes, at + RUN_HEADER_BYTES, origin.id);
      writeU32(bytes, at + RUN_HEADER_BYTES + 4, origin.epoch);
      bytes.writeDoubleLE(sequence, at + RUN_HEADER_BYTES + 8);
    }
    const row = engine.bodies.logged.add(journal.segment, journal.offset + header, length, 1, count);
    partition.logged(row, length, count, newestMs, engine.wrote());
    return at + header;
  }
}
