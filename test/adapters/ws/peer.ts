/** A WebSocket client for tests: frames in order, waited for with a bound. */
import { once } from 'node:events';
import { type ClientOptions, WebSocket } from 'ws';

export type Frame = Record<string, unknown>;

/** No frame takes longer than this on loopback; only a failing test waits for it. */
const WAIT_MS = 5_000;

export class WsPeer {
  readonly socket: WebSocket;
  readonly #frames: Frame[] = [];
  #wake: (() => void) | undefined;
  /** Close code and reason, once closed. */
  closed: { code: number; reason: string } | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      this.#frames.push(JSON.parse(data.toString('utf8')) as Frame);
      this.#wake?.();
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake?.();
    });
    socket.on('error', () => {});
  }

  /** Connect; rejects when the upgrade is refused. */
  static async open(
    port: number,
    options: ClientOptions & { path?: string; protocols?: string[] } = {},
  ): Promise<WsPeer> {
    const { path = '/ws', protocols = ['junction.json'], ...rest } = options;
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, rest);
    const peer = new WsPeer(socket);
    await once(socket, 'open');
    return peer;
  }

  send(frame: Frame): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** The next frame that fits; others before it stay. Rejects when none comes or the socket closes first. */
  async next(fits: Frame = {}): Promise<Frame> {
    const until = Date.now() + WAIT_MS;
    for (;;) {
      const at = this.#frames.findIndex((frame) =>
        Object.entries(fits).every(([name, value]) => frame[name] === value),
      );
      if (at >= 0) return this.#frames.splice(at, 1)[0] as Frame;
      if (this.closed !== undefined) throw new Error(`closed (${this.closed.code}), no ${JSON.stringify(fits)}`);
      await this.#sleepUntil(until, fits);
    }
  }

  /** Send a frame with an id and wait for the answer. */
  ask(frame: Frame & { id: number | string }): Promise<Frame> {
    this.send(frame);
    return this.next({ id: frame.id });
  }

  async close(): Promise<void> {
    if (this.closed !== undefined) return;
    this.socket.close();
    await this.whenClosed();
  }

  async whenClosed(): Promise<{ code: number; reason: string }> {
    const until = Date.now() + WAIT_MS;
    while (this.closed === undefined) await this.#sleepUntil(until, 'a close');
    return this.closed;
  }

  /** Frames that came and nobody has asked for. */
  get waiting(): readonly Frame[] {
    return this.#frames;
  }

  #sleepUntil(until: number, what: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      const text = `no ${JSON.stringify(what)}; got ${JSON.stringify(this.#frames).slice(0, 500)}`;
      const timer = setTimeout(() => reject(new Error(text)), Math.max(0, until - Date.now()));
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
