/**
 * Batches in JSON: lines, each the JSON object of a message (docs/topics.md "Batches over HTTP"), plain or compressed as a whole. A batch is
 * a message of format `json` whose body is what the producer sent; its own properties say how that is compressed.
 */
import { isUtf8 } from 'node:buffer';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { Ajv } from 'ajv';
import { type BatchFormat, CoreError, FLAG_DURABLE, Message } from '../core/index.ts';
import { bodyOf, encodeHead, hubOfJson, JSON_FORMAT_ID, type JsonPublish, PUBLISH_PROPERTIES } from './json-message.ts';

export const BATCH_TYPE = 'application/x-ndjson';

/** What undoes each content coding (RFC 9110, section 8.4.1). */
const UNPACK = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync } as const;
const CODINGS = Object.keys(UNPACK).join(', ');

/** Far more than a batch may have messages: the others are empty, and cost time all the same. */
const LINES_MAX = 131_072;

interface Line
  extends Pick<JsonPublish, 'payload' | 'encoding' | 'persistent' | 'priority' | 'properties' | 'headers'> {
  group?: string;
}

const { payload, encoding, persistent, priority, properties, headers } = PUBLISH_PROPERTIES;
const isLine = new Ajv({ allowUnionTypes: true, strictTuples: false }).compile<Line>({
  type: 'object',
  additionalProperties: false,
  properties: { payload, encoding, persistent, priority, properties, headers, group: { type: 'string' } },
});

/** Fill `view` with a batch. @param coding how `body` is compressed; '' = it is not */
export function fillBatch(view: Message, body: Buffer, coding: string): void {
  const said = coding === '' ? {} : { content_encoding: coding };
  const head = encodeHead({ content_type: BATCH_TYPE, ...said }, undefined);
  view.format = JSON_FORMAT_ID;
  view.flags = FLAG_DURABLE;
  view.bytes = Buffer.concat([head, body]);
  view.headEnd = view.bodyStart = head.length;
  view.bodyEnd = view.bytes.length;
}

/** How the body of a batch is compressed; '' = it is not. */
export function codingOf(batch: Message): string {
  const coding = hubOfJson(batch).contentEncoding ?? '';
  return coding === 'identity' ? '' : coding;
}

function linesOf(batch: Message, bytesMax: number): Buffer {
  const body = batch.bytes.subarray(batch.bodyStart, batch.bodyEnd);
  const coding = codingOf(batch);
  const unpack = Object.hasOwn(UNPACK, coding) ? UNPACK[coding as keyof typeof UNPACK] : undefined;
  if (unpack === undefined && coding !== '') {
    throw new CoreError('not-supported', `content-encoding ${coding}; these are understood: ${CODINGS}`);
  }
  const lines = unpack === undefined ? body : inflate(unpack, body, bytesMax, coding);
  if (lines.length > bytesMax) throw tooLarge(bytesMax);
  if (!isUtf8(lines)) throw new CoreError('invalid-argument', 'the batch is not UTF-8');
  return lines;
}

function inflate(unpack: typeof gunzipSync, body: Buffer, bytesMax: number, coding: string): Buffer {
  try {
    return unpack(body, { maxOutputLength: bytesMax });
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax);
    throw new CoreError('invalid-argument', `the batch is not ${coding}: ${(error as Error).message}`);
  }
}

function tooLarge(bytesMax: number): CoreError {
  return new CoreError('message-too-large', `a batch of more than ${bytesMax} bytes when unpacked`);
}

/** Fill `view` with the message of a line. Throws `invalid-argument`. */
function fillLine(view: Message, text: string): void {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch (error) {
    throw new CoreError('invalid-argument', (error as Error).message);
  }
  if (!isLine(said)) {
    const [mistake] = isLine.errors ?? [];
    throw new CoreError('invalid-argument', `${mistake?.instancePath ?? ''} ${mistake?.message ?? ''}`.trim());
  }
  const group = Buffer.from(said.group ?? '', 'utf8');
  const head = encodeHead(said.properties, said.headers);
  const body = bodyOf(said);
  view.format = JSON_FORMAT_ID;
  view.flags = said.persistent === false ? 0 : FLAG_DURABLE;
  view.priority = said.priority ?? 0;
  view.bytes = group.length + head.length === 0 ? body : Buffer.concat([group, head, body]);
  view.groupEnd = view.headStart = group.length;
  view.headEnd = view.bodyStart = group.length + head.length;
  view.bodyEnd = view.bytes.length;
}

export const JSON_BATCHES: BatchFormat = {
  unpack(batch, bytesMax, visit) {
    const lines = linesOf(batch, bytesMax);
    const view = new Message();
    for (let at = 0, number = 1; at < lines.length; number++) {
      const newline = lines.indexOf(0x0a, at);
      const end = newline < 0 ? lines.length : newline;
      const text = lines.toString('utf8', at, end);
      at = end + 1;
      if (number > LINES_MAX) throw new CoreError('message-too-large', `a batch of more than ${LINES_MAX} lines`);
      if (text.trim() === '') continue;
      try {
        fillLine(view, text);
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        throw new CoreError(error.code, `line ${number}: ${error.detail ?? ''}`, { cause: error });
      }
      visit(view);
    }
  },
};
