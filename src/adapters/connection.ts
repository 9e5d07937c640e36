/**
 * What a transport yields: chunks in, bytes out, pause, resume, close, peer. Adapters write frames into a slab the
 * connection owns; every connection is written once per turn of the event loop (DESIGN section 8: a socket write costs
 * 2.6 us, a codec 0.2 us, so batching decides).
 */
import type { Duplex } from 'node:stream';
import type { Limits } from '../core/index.ts';

export interface Peer {
  readonly address: string;
  readonly port: number;
  /** The peer is on this machine (127.0.0.0/8 or ::1). */
  readonly loopback: boolean;
  readonly tls: boolean;
}

/** What a session does with what its connection tells it. */
export interface ConnectionHandlers {
  /** Bytes arrived: any cut of the stream. `chunk` is used again for the next read of any connection: it is valid until
   *  this returns, so copy what you keep. */
  onChunk(chunk: Buffer): void;
  /** Queued output fell below the high mark after `roomy` was false. */
  onRoom(): void;
  /** The connection is gone, whoever ended it. Called exactly once. */
  onClosed(error: Error | undefined): void;
}

const SLAB_BYTES = 64 * 1024;
/** Ranges at least this long are written from where they are instead of being copied into a slab. */
const ZERO_COPY_BYTES = 16 * 1024;
const POOL_SLABS_MAX = 64;

const pool: Buffer[] = [];
const NO_SLAB: Buffer = Buffer.alloc(0);

function takeSlab(bytes: number): Buffer {
  if (bytes > SLAB_BYTES) return Buffer.allocUnsafeSlow(bytes);
  return pool.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
}

function giveSlab(slab: Buffer): void {
  if (slab.length === SLAB_BYTES && pool.length < POOL_SLABS_MAX) pool.push(slab);
}

/** Connections with unsent bytes; all are flushed together at the end of this turn of the event loop. */
let dirty: Connection[] = [];
function flushDirty(): void {
  const now = dirty;
  dirty = [];
  for (const connection of now) connection.flush();
}

/** A byte stream to a peer. `StreamConnection` is the one over TCP and TLS. */
export abstract class Connection {
  readonly peer: Peer;
  readonly limits: Limits;
  handlers: ConnectionHandlers | undefined;
  /** The slab `reserve` answered an index in. */
  slab: Buffer = NO_SLAB;
  #used = 0;
  #scheduled = false;
  #closed = false;
  #tight = false;
  /** Called right before a flush, for output that is collected elsewhere (coalesced runs of frames). */
  beforeFlush: (() => void) | undefined;
  bytesIn = 0;
  bytesOut = 0;

  constructor(peer: Peer, limits: Limits) {
    this.peer = peer;
    this.limits = limits;
  }

  /** Make room for `count` bytes and answer the index in `this.slab` where they go; write all of them at once. */
  reserve(count: number): number {
    if (this.#used + count > this.slab.length) this.#nextSlab(count);
    if (!this.#scheduled) this.schedule();
    const at = this.#used;
    this.#used = at + count;
    return at;
  }

  /** Give back the last `count` reserved bytes (a frame turned out shorter). */
  unreserve(count: number): void {
    this.#used -= count;
  }

  /** Queue a range of bytes that will not change any more. Long ranges are not copied: they must not be reused. */
  send(bytes: Buffer, start: number, end: number): void {
    const count = end - start;
    if (count >= ZERO_COPY_BYTES) {
      this.#handOver();
      this.bytesOut += count;
      this.transmit(bytes.subarray(start, end), undefined);
      if (!this.#scheduled) this.schedule();
      return;
    }
    const at = this.reserve(count);
    this.slab.set(bytes.subarray(start, end), at);
  }

  /** Have `flush` run at the end of this turn. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (dirty.length === 0) setImmediate(flushDirty);
    dirty.push(this);
  }

  /** Hand everything queued to the transport. Runs by itself once per turn. */
  flush(): void {
    if (this.#closed) {
      this.#scheduled = false;
      return;
    }
    // Output produced in here goes out now: do not schedule another turn for it.
    this.#scheduled = true;
    this.beforeFlush?.();
    this.#scheduled = false;
    this.#handOver();
    this.uncork();
    this.#checkRoom();
  }

  /** Bytes queued here and in the transport. */
  get queuedBytes(): number {
    return this.#used + this.transportQueued;
  }

  /** False: enough is queued; stop producing until `onRoom`. */
  get roomy(): boolean {
    if (this.queuedBytes < this.limits.connectionOutBytesHigh) return true;
    this.#tight = true;
    return false;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Send what is queued, then end the stream in an orderly way. */
  end(): void {
    if (this.#closed) return;
    this.flush();
    this.endTransport();
  }

  /** Drop everything now. */
  abstract destroy(error?: Error): void;
  /** Stop reading from the peer: its window fills and it waits. */
  abstract pause(): void;
  abstract resume(): void;
  /** Bytes the transport has taken and not yet given to the kernel. */
  protected abstract get transportQueued(): number;
  /** Queue one buffer on the transport, corked; `done` when it may be reused. */
  protected abstract transmit(bytes: Buffer, done: (() => void) | undefined): void;
  /** Let the corked buffers go out in one write. */
  protected abstract uncork(): void;
  protected abstract endTransport(): void;

  /** The transport read bytes. */
  received(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    this.handlers?.onChunk(chunk);
  }

  protected drained(): void {
    this.#checkRoom();
  }

  protected finished(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    giveSlab(this.slab);
    this.slab = NO_SLAB;
    this.#used = 0;
    this.handlers?.onClosed(error);
  }

  #checkRoom(): void {
    if (this.#closed || !this.#tight || this.queuedBytes >= this.limits.connectionOutBytesHigh / 2) return;
    this.#tight = false;
    this.handlers?.onRoom();
  }

  #nextSlab(count: number): void {
    this.#handOver();
    if (this.#closed) {
      // A frame for a closed connection goes nowhere; give it a place to be written to.
      this.slab = Buffer.allocUnsafeSlow(Math.max(count, 64));
      this.#used = 0;
      return;
    }
    this.slab = takeSlab(count);
    this.#used = 0;
  }

  /** Pass the filled part of the slab to the transport; the slab itself is given up. */
  #handOver(): void {
    if (this.#used === 0) return;
    const slab = this.slab;
    const part = slab.subarray(0, this.#used);
    this.bytesOut += part.length;
    this.slab = NO_SLAB;
    this.#used = 0;
    if (this.#closed) return;
    this.transmit(part, () => giveSlab(slab));
  }
}

/** A connection over a TCP or TLS socket. Whoever makes it calls `received` with what the stream reads. */
export class StreamConnection extends Connection {
  readonly #stream: Duplex;
  #corked = false;

  constructor(stream: Duplex, peer: Peer, limits: Limits) {
    super(peer, limits);
    this.#stream = stream;
    let failure: Error | undefined;
    stream.on('drain', () => this.drained());
    stream.on('error', (error) => {
      failure = error;
    });
    stream.on('end', () => stream.end());
    stream.on('close', () => this.finished(failure));
  }

  protected get transportQueued(): number {
    return this.#stream.writableLength;
  }

  protected transmit(bytes: Buffer, done: (() => void) | undefined): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
    }
    this.#stream.write(bytes, done);
  }

  protected uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#stream.uncork();
  }

  protected endTransport(): void {
    this.#stream.end();
  }

  destroy(error?: Error): void {
    this.#stream.destroy();
    this.finished(error);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }
}
