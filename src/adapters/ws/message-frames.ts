/** Messages as frames: made once per message and shared by all subscribers that are to see the same text. */
import { type Broker, FLAG_RETAINED, type Message } from '../../core/index.ts';
import { messageJsonTail } from '../json-message.ts';
import { textFrame } from './output.ts';

/** Different texts kept for one message: subscribers choose their subscription's name, so there may be many. */
const FRAMES_MAX = 256;

export class MessageFrames {
  readonly #broker: Broker;
  readonly #frames = new Map<string, Buffer>();
  /** The message `#tail` and `#frames` are of. */
  #id: number | undefined;
  #tail = '';

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** The frame `prefix` + message, where `prefix` is the start of a JSON object up to the message's first member. */
  frame(message: Message, prefix: string): Buffer {
    // A retained value has the id of its message but says that it is retained.
    if ((message.flags & FLAG_RETAINED) !== 0) return textFrame(prefix + messageJsonTail(this.#broker, message));
    if (message.id !== this.#id) {
      this.#id = message.id;
      this.#tail = messageJsonTail(this.#broker, message);
      this.#frames.clear();
    }
    let frame = this.#frames.get(prefix);
    if (frame === undefined) {
      frame = textFrame(prefix + this.#tail);
      if (this.#frames.size >= FRAMES_MAX) this.#frames.clear();
      this.#frames.set(prefix, frame);
    }
    return frame;
  }

  /** The text of a delivery from a queue: its number makes it one subscriber's own. */
  text(message: Message, prefix: string): string {
    return prefix + messageJsonTail(this.#broker, message);
  }
}
