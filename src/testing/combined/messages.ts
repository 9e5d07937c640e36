/** Messages of the combined simulation: bodies as `idOf` wants them, and properties of three bytes. */
import type { Format, Message } from '../../core/index.ts';
import { messageOf } from '../sim-broker.ts';

/** What rules go by. */
export interface Marks {
  readonly color: number;
  /** The value that last-value queues go by; 0 = none. */
  readonly slot: number;
  /** Message id; 0 = none. */
  readonly dedup: number;
  /** Message group; 0 = none. */
  readonly group: number;
}

/** Properties: colour, slot, message id, a byte each. */
export const FORMAT: Format = {
  id: 250,
  name: 'marks',
  toHub: ({ bytes, headStart, durable }) => {
    const [color, slot, dedup] = bytes.subarray(headStart, headStart + 3) as Uint8Array as unknown as [
      number,
      number,
      number,
    ];
    const application: [string, number][] = [['color', color]];
    if (slot !== 0) application.push(['slot', slot]);
    const hub = { durable, annotations: new Map(), application };
    return dedup === 0 ? hub : { ...hub, messageId: `${dedup}` };
  },
};

export function markedMessage(id: number, bytes: number, { color, slot, dedup, group }: Marks): Message {
  const message = messageOf(id, bytes, 0);
  const end = message.bytes.length;
  const head = Buffer.from([color, slot, dedup]);
  message.format = FORMAT.id;
  message.bytes = Buffer.concat([message.bytes, head, Buffer.from(group === 0 ? '' : `g${group}`)]);
  message.headStart = end;
  message.headEnd = end + head.length;
  message.groupStart = message.headEnd;
  message.groupEnd = message.bytes.length;
  return message;
}
