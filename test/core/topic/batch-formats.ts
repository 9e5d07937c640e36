/** Two formats with batches, for tests: a line `group|body` is a message; the whole may be gzip. */
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { type BatchFormat, CoreError, FLAG_DURABLE, type Format, Message } from '../../../src/core/index.ts';
import type { Lab } from './support.ts';

export interface Line {
  readonly group: string;
  readonly body: string;
}

export const plainLines = (bodies: readonly string[]): Line[] => bodies.map((body) => ({ group: '', body }));

function visitLines(text: string, visit: (message: Message) => void): void {
  const message = new Message();
  for (const line of text.split('\n')) {
    const at = line.indexOf('|');
    if (at < 0) throw new CoreError('invalid-argument', `a line without a bar: ${line}`);
    message.format = LINES.id;
    message.flags = FLAG_DURABLE;
    message.bytes = Buffer.from(line);
    message.groupEnd = at;
    message.headStart = message.headEnd = message.bodyStart = at + 1;
    message.bodyEnd = message.bytes.length;
    visit(message);
  }
}

function textOf(body: Buffer, bytesMax: number): string {
  if (body[0] !== 0x1f) return body.toString();
  try {
    return gunzipSync(body, { maxOutputLength: bytesMax }).toString();
  } catch (error) {
    const tooLarge = (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE';
    throw new CoreError(tooLarge ? 'message-too-large' : 'invalid-argument', (error as Error).message);
  }
}

const bodyOf = ({ bytes, bodyStart, bodyEnd }: Message): Buffer => bytes.subarray(bodyStart, bodyEnd);

const toHub: Format['toHub'] = ({ durable }) => ({ durable, annotations: new Map(), application: [] });

/** Says nothing about itself: it is taken apart to see. */
export const LINES: Format & { batches: BatchFormat } = {
  id: 200,
  name: 'lines',
  toHub,
  batches: { unpack: (batch, bytesMax, visit) => visitLines(textOf(bodyOf(batch), bytesMax), visit) },
};

/** Begins with the number of messages and a checksum of the rest. */
export const COUNTED: Format & { batches: BatchFormat } = {
  id: 201,
  name: 'counted lines',
  toHub,
  batches: {
    count(batch) {
      const body = bodyOf(batch);
      if (body.length < 8 || crc32(body.subarray(8)) !== body.readUInt32LE(4)) {
        throw new CoreError('invalid-argument', 'the checksum of the batch is wrong');
      }
      return body.readUInt32LE(0);
    },
    unpack: (batch, bytesMax, visit) => visitLines(textOf(bodyOf(batch).subarray(8), bytesMax), visit),
  },
};

export function pack(lines: readonly Line[], zipped: boolean): Buffer {
  const text = Buffer.from(lines.map(({ group, body }) => `${group}|${body}`).join('\n'));
  return zipped ? gzipSync(text) : text;
}

/** As COUNTED has it. */
export function counted(count: number, packed: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(count, 0);
  head.writeUInt32LE(crc32(packed), 4);
  return Buffer.concat([head, packed]);
}

/** A batch to be appended. */
export function batchOf(body: Buffer, format: Format = LINES, partition = 0): Message {
  const message = new Message();
  message.format = format.id;
  message.flags = FLAG_DURABLE;
  message.bytes = body;
  message.bodyEnd = body.length;
  message.partition = partition;
  return message;
}

export function registerFormats(one: Lab): void {
  one.broker.registerFormat(LINES);
  one.broker.registerFormat(COUNTED);
}

export interface SeenBatch {
  readonly offset: number;
  /** 0: a single message. */
  readonly sealed: number;
  readonly body: string;
}

/** Everything from an offset on, batches of a format as they are. */
export async function readSealed(one: Lab, offset: number, format = LINES.id, partition = 0): Promise<SeenBatch[]> {
  const seen: SeenBatch[] = [];
  const reader = one.client.reader(
    't',
    partition,
    offset,
    {
      onRecords: (batch) => {
        while (batch.next())
          seen.push({
            offset: batch.offset,
            sealed: batch.sealed,
            body: bodyOf(batch.message).toString('latin1'),
          });
      },
    },
    { sealed: format },
  );
  const end = one.broker.admin.topics.get('/', 't')?.details[partition]?.durableEnd ?? 0;
  for (let n = 0; n < 100 && reader.position < end; n++) await one.clock.advance(50);
  reader.close();
  return seen;
}
