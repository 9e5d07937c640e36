/** Times of one connection: handshake, keep alive, unfinished packets, and how long a peer may linger after the end. */
import type { Limits } from '../../core/index.ts';
import type { PacketReader } from './codec.ts';

/** Milliseconds the peer has to close its side once we have closed ours. */
const LINGER_MS = 3_000;
/** Bytes a millisecond below which a peer that takes its time over one packet is given up. */
const PARTIAL_BYTES_PER_MS = 1024 / 1000;

/**
 * Looked at a few times a second instead of keeping timers and reading clocks: bytes that arrive only set a flag, so the
 * times are late by at most one look.
 */
export class Watchdog {
  readonly #limits: Limits;
  readonly #reader: PacketReader;
  /** Something arrived since the last look. */
  heard = false;
  /** Longest silence allowed, in milliseconds; 0 = any. */
  silenceMsMax = 0;
  #heardAtMs: number;
  /** When the current phase (handshake, end) began. */
  #phaseAtMs: number;
  #partialSerial = 0;
  #partialAtMs = 0;
  #ending = false;

  constructor(limits: Limits, reader: PacketReader, nowMs: number) {
    this.#limits = limits;
    this.#reader = reader;
    this.#heardAtMs = nowMs;
    this.#phaseAtMs = nowMs;
  }

  /** In the handshake: answers why the connection should end, if it should. */
  lookAtHandshake(nowMs: number): string | undefined {
    this.#heardAtMs = nowMs;
    if (nowMs - this.#phaseAtMs <= this.#limits.handshakeMs) return undefined;
    return `handshake-timeout: no session after ${this.#limits.handshakeMs} ms`;
  }

  /** In the session. @param paused true while we do not read: the peer's silence is ours */
  lookAtSession(nowMs: number, paused: boolean): string | undefined {
    if (this.heard || paused) {
      this.heard = false;
      this.#heardAtMs = nowMs;
    }
    if (this.silenceMsMax > 0 && nowMs - this.#heardAtMs > this.silenceMsMax) {
      return `heartbeat-timeout: silent for more than ${this.silenceMsMax} ms [MQTT-3.1.2-24]`;
    }
    return paused ? undefined : this.#lookAtPartial(nowMs);
  }

  /** After the end: true when the peer had its time to close. */
  lookAtEnd(nowMs: number): boolean {
    if (!this.#ending) {
      this.#ending = true;
      this.#phaseAtMs = nowMs;
    }
    return nowMs - this.#phaseAtMs > LINGER_MS;
  }

  #lookAtPartial(nowMs: number): string | undefined {
    const held = this.#reader.heldBytes;
    if (held === 0) return undefined;
    if (this.#reader.heldSerial !== this.#partialSerial) {
      this.#partialSerial = this.#reader.heldSerial;
      this.#partialAtMs = nowMs;
    }
    const allowedMs = this.#limits.partialFrameMs + held / PARTIAL_BYTES_PER_MS;
    return nowMs - this.#partialAtMs > allowedMs ? 'a packet was begun and not finished in time' : undefined;
  }
}
