/** A JSON WebSocket of a page, for demonstrations. */
import { WebSocket } from 'ws';
import type { Gateway } from './gateway.ts';
import { Inbox } from './steps.ts';

export interface Frame {
  readonly op: string;
  readonly [name: string]: unknown;
}

export class Page {
  /** What has come, but for the greeting and answers to requests. */
  readonly frames = new Inbox<Frame>();
  readonly #socket: WebSocket;
  readonly #answers = new Inbox<Frame>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame;
      if (frame.op === 'ok' || frame.op === 'error') this.#answers.put(frame);
      else if (frame.op !== 'hello') this.frames.put(frame);
    });
  }

  static async open(gateway: Gateway): Promise<Page> {
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.ports.http}/ws`, 'junction.json');
    const page = new Page(socket);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return page;
  }

  /** Send a frame with an id; resolves to its answer. One at a time. */
  ask(frame: Frame): Promise<Frame> {
    this.#socket.send(JSON.stringify(frame));
    return this.#answers.take();
  }

  /** Vanish, without a word. */
  cut(): void {
    this.#socket.terminate();
  }
}
