/** A scripted AMQP 0-9-1 peer: says exactly what a test wants, frame by frame, and waits for what the server answers. */
import { strict as assert } from 'node:assert';
import { connect, type Socket } from 'node:net';
import {
  type ArgumentsToSend,
  type DecodedMethod,
  decodeMethod,
  encodeMethod,
  FRAME_BODY,
  FRAME_HEADER,
  FRAME_METHOD,
  PROTOCOL_HEADER,
} from '../../../src/adapters/amqp/v091/codec.ts';
import { AmqpError, type ReplyName } from '../../../src/adapters/amqp/v091/errors.ts';
import { Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import type { Arguments, MethodName } from '../../../src/adapters/amqp/v091/methods.ts';
import { type BasicProperties, encodeProperties } from '../../../src/adapters/amqp/v091/properties.ts';

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
}

/** The reply name of the protocol error `attempt` throws; undefined when it throws none. */
export function refusal(attempt: () => unknown): ReplyName | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (error instanceof AmqpError) return error.reply;
    throw error;
  }
}

const WAIT_MS = 5_000;

/** Any frame. */
export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(payload.length + 8);
  bytes[0] = type;
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(payload.length, 3);
  payload.copy(bytes, 7);
  bytes[bytes.length - 1] = 0xce;
  return bytes;
}

export function methodFrame<M extends MethodName>(channel: number, name: M, args: ArgumentsToSend<M>): Buffer {
  const writer = new Writer();
  encodeMethod(writer, channel, name, args);
  return writer.toBuffer();
}

/** Payload of a content header. */
export function contentHeader(bodySize: number, properties: BasicProperties = {}, classId = 60): Buffer {
  const writer = new Writer();
  writer.short(classId);
  writer.short(0);
  writer.longlong(bodySize);
  encodeProperties(writer, properties);
  return writer.toBuffer();
}

export interface Publish {
  exchange?: string;
  routingKey: string;
  body: Buffer | string;
  mandatory?: boolean;
  immediate?: boolean;
  properties?: BasicProperties;
  /** Bytes of one body frame at most. */
  cut?: number;
}

/** The frames of one publish. */
export function publishFrames(channel: number, publish: Publish): Buffer {
  const { exchange = '', routingKey, mandatory = false, immediate = false, cut = 100_000 } = publish;
  const body = Buffer.from(publish.body);
  const frames = [
    methodFrame(channel, 'basic.publish', { exchange, routingKey, mandatory, immediate }),
    frame(FRAME_HEADER, channel, contentHeader(body.length, publish.properties)),
  ];
  for (let at = 0; at < body.length; at += cut) frames.push(frame(FRAME_BODY, channel, body.subarray(at, at + cut)));
  return Buffer.concat(frames);
}

export class RawClient {
  readonly socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  ended = false;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake?.();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.ended = true;
      this.#wake?.();
    });
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  method<M extends MethodName>(channel: number, name: M, args: ArgumentsToSend<M>): void {
    this.send(methodFrame(channel, name, args));
  }

  publish(channel: number, publish: Publish): void {
    this.send(publishFrames(channel, publish));
  }

  /** Wait until there are `count` bytes, and take them. */
  async bytes(count: number): Promise<Buffer> {
    await this.#until(() => this.#bytes.length >= count);
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  async frame(): Promise<Frame> {
    const head = await this.bytes(7);
    const size = head.readUInt32BE(3);
    const rest = await this.bytes(size + 1);
    assert.equal(rest[size], 0xce, 'frame end');
    return { type: head[0] as number, channel: head.readUInt16BE(1), payload: rest.subarray(0, size) };
  }

  async anyMethod(): Promise<DecodedMethod & { channel: number }> {
    const { type, channel, payload } = await this.frame();
    assert.equal(type, FRAME_METHOD, 'a method frame');
    return { ...decodeMethod(payload, 0, payload.length), channel };
  }

  /** The next frame must be this method. */
  async expect<M extends MethodName>(name: M): Promise<Arguments<M>> {
    const method = await this.anyMethod();
    assert.equal(method.name, name, `got ${method.name} ${JSON.stringify(method.args)}`);
    return method.args as unknown as Arguments<M>;
  }

  /** Send a method and wait for its answer. */
  call<M extends MethodName, A extends MethodName>(
    channel: number,
    name: M,
    args: ArgumentsToSend<M>,
    answer: A,
  ): Promise<Arguments<A>> {
    this.method(channel, name, args);
    return this.expect(answer);
  }

  /** Content after basic.deliver, get-ok or return: property bytes and body. */
  async content(): Promise<{ head: Buffer; body: Buffer; frames: number }> {
    const header = await this.frame();
    assert.equal(header.type, FRAME_HEADER, 'a content header');
    const size = Number(header.payload.readBigUInt64BE(4));
    const parts: Buffer[] = [];
    for (let got = 0; got < size; ) {
      const part = await this.frame();
      assert.equal(part.type, FRAME_BODY, 'a content body');
      parts.push(part.payload);
      got += part.payload.length;
    }
    return { head: header.payload.subarray(12), body: Buffer.concat(parts), frames: parts.length };
  }

  /** Wait for the server to close the connection. */
  closed(): Promise<void> {
    return this.#until(() => this.ended);
  }

  end(): void {
    this.socket.destroy();
  }

  /** Wait for connection.close, answer it, and give its reply code. */
  async refused(): Promise<number> {
    const { replyCode } = await this.expect('connection.close');
    this.method(0, 'connection.close-ok', {});
    await this.closed();
    return replyCode;
  }

  /** Wait for channel.close, answer it, and give its reply code. */
  async channelClosed(channel: number): Promise<number> {
    const { replyCode } = await this.expect('channel.close');
    this.method(channel, 'channel.close-ok', {});
    return replyCode;
  }

  async #until(done: () => boolean): Promise<void> {
    if (done()) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing came within ${WAIT_MS} ms`)), WAIT_MS);
      this.#wake = () => {
        if (done()) resolve();
        else if (this.ended) reject(new Error('the connection was closed'));
      };
      if (this.ended) this.#wake();
    }).finally(() => {
      clearTimeout(timer);
      this.#wake = undefined;
    });
  }
}

export interface OpenOptions {
  user?: string;
  vhost?: string;
  frameMax?: number;
  channelMax?: number;
  heartbeat?: number;
  capabilities?: { [name: string]: boolean };
  /** Stop before this method is sent. */
  until?: 'start-ok' | 'tune-ok' | 'open';
}

/** Send the header and go through the handshake. */
export async function open(port: number, options: OpenOptions = {}): Promise<RawClient> {
  const { user = 'guest', vhost = '/', frameMax = 131_072, channelMax = 0, heartbeat = 0 } = options;
  const client = new RawClient(port);
  client.send(PROTOCOL_HEADER);
  await client.expect('connection.start');
  if (options.until === 'start-ok') return client;
  client.method(0, 'connection.start-ok', {
    clientProperties: { connection_name: 'raw', capabilities: options.capabilities ?? {} },
    mechanism: 'PLAIN',
    response: `\0${user}\0${user}`,
    locale: 'en_US',
  });
  await client.expect('connection.tune');
  if (options.until === 'tune-ok') return client;
  client.method(0, 'connection.tune-ok', { channelMax, frameMax, heartbeat });
  if (options.until === 'open') return client;
  client.method(0, 'connection.open', { virtualHost: vhost, reserved2: false } as ArgumentsToSend<'connection.open'>);
  await client.expect('connection.open-ok');
  return client;
}

/** A connection with channel 1 open. */
export async function openChannel(port: number, options: OpenOptions = {}): Promise<RawClient> {
  const client = await open(port, options);
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  return client;
}

/** Defaults for methods with many arguments. */
export const QUEUE = {
  passive: false,
  durable: false,
  exclusive: false,
  autoDelete: false,
  noWait: false,
  arguments: {},
} as const;

export const EXCHANGE = {
  type: 'direct',
  passive: false,
  durable: false,
  autoDelete: false,
  internal: false,
  noWait: false,
  arguments: {},
} as const;

export const CONSUME = {
  consumerTag: 'c',
  noLocal: false,
  noAck: false,
  exclusive: false,
  noWait: false,
  arguments: {},
} as const;
