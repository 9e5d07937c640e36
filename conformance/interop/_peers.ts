/** The four kinds of client behind one face, so that every pair can be tried with the same few lines. */
import { once } from 'node:events';
import { connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { WebSocket } from 'ws';
import { type ServerUnderTest, unique } from '../case.ts';

const WAIT_MS = 8_000;

/** A message as a client of some protocol saw it. */
export interface Seen {
  /** In the protocol's own notation: `a/b/c`, or `a.b.c` for AMQP. */
  readonly topic: string;
  readonly body: Buffer;
  readonly contentType?: string | undefined;
}

export interface Outgoing {
  /** Levels with `/` between them. */
  readonly topic: string;
  readonly body: Buffer;
  readonly contentType?: string;
}

export interface Subscriber {
  /** The next message; acknowledged where the protocol has that. Rejects after some seconds. */
  next(): Promise<Seen>;
  close(): Promise<void>;
}

export interface PeerKind {
  readonly name: 'mqtt' | 'amqp' | 'http' | 'ws';
  /** Resolves when the broker has confirmed it. */
  publish(server: ServerUnderTest, message: Outgoing): Promise<void>;
  /** @param filter levels with `/` between them, `+` and `#` as wildcards */
  subscribe(server: ServerUnderTest, filter: string): Promise<Subscriber>;
}

/** Messages in order for whoever waits, with a bound on the wait. */
export class Inbox<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;

  put(item: T): void {
    this.#items.push(item);
    this.#wake?.();
  }

  async take(): Promise<T> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) return item;
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`nothing arrived within ${WAIT_MS} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }
}

/** `a/+/c` -> `a.*.c`. */
export const dotted = (filter: string): string => filter.replaceAll('/', '.').replaceAll('+', '*');

const mqtt: PeerKind = {
  name: 'mqtt',
  async publish(server, { topic, body }) {
    const client = await connectMqtt(`mqtt://${server.host}:${server.mqttPort}`, { clientId: unique('interop') });
    try {
      await client.publishAsync(topic, body, { qos: 1 });
    } finally {
      await client.endAsync();
    }
  },
  async subscribe(server, filter) {
    const client = await connectMqtt(`mqtt://${server.host}:${server.mqttPort}`, { clientId: unique('interop') });
    const inbox = new Inbox<Seen>();
    client.on('message', (topic, body) => inbox.put({ topic, body }));
    await client.subscribeAsync(filter, { qos: 1 });
    return { next: () => inbox.take(), close: () => client.endAsync() };
  },
};

const amqp: PeerKind = {
  name: 'amqp',
  async publish(server, { topic, body, contentType }) {
    const connection = await connectAmqp(`amqp://guest:guest@${server.host}:${server.amqpPort}`);
    try {
      const channel = await connection.createConfirmChannel();
      channel.publish('amq.topic', topic.replaceAll('/', '.'), body, {
        persistent: true,
        ...(contentType === undefined ? {} : { contentType }),
      });
      await channel.waitForConfirms();
    } finally {
      await connection.close();
    }
  },
  async subscribe(server, filter) {
    const connection = await connectAmqp(`amqp://guest:guest@${server.host}:${server.amqpPort}`);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'amq.topic', dotted(filter));
    const inbox = new Inbox<Seen>();
    await channel.consume(queue, (message) => {
      if (message === null) return;
      channel.ack(message);
      const contentType = message.properties.contentType as string | undefined;
      inbox.put({ topic: message.fields.routingKey, body: message.content, contentType });
    });
    return { next: () => inbox.take(), close: () => connection.close() };
  },
};

const BASIC = `Basic ${Buffer.from('guest:guest').toString('base64')}`;

/** One call of the HTTP API as guest. Throws when the answer is no 2xx. */
export async function call(
  server: ServerUnderTest,
  method: string,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', BASIC);
  const response = await fetch(`http://${server.host}:${server.httpPort}${path}`, { ...init, method, headers });
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  return response;
}

async function callJson<T>(server: ServerUnderTest, method: string, path: string, body?: unknown): Promise<T> {
  const init =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
  const text = await (await call(server, method, path, init)).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

interface JsonMessage {
  topic: string;
  payload: string;
  encoding?: 'base64';
  properties?: { content_type?: string };
}

function seenInJson({ topic, payload, encoding, properties }: JsonMessage): Seen {
  return { topic, body: Buffer.from(payload, encoding ?? 'utf8'), contentType: properties?.content_type };
}

const http: PeerKind = {
  name: 'http',
  async publish(server, { topic, body, contentType }) {
    const path = topic.split('/').map(encodeURIComponent).join('/');
    const headers: Record<string, string> = contentType === undefined ? {} : { 'content-type': contentType };
    await call(server, 'POST', `/v1/topics/${path}`, { body: new Uint8Array(body), headers });
  },
  async subscribe(server, filter) {
    const queue = unique('interop');
    await callJson(server, 'PUT', `/v1/queues/${queue}`, { durable: true });
    await callJson(server, 'POST', '/v1/bindings', { source: 'amq.topic', queue, key: filter, separator: '/' });
    return {
      async next() {
        type Leased = { lease: string; messages: JsonMessage[] };
        const { lease, messages } = await callJson<Leased>(
          server,
          'POST',
          `/v1/queues/${queue}/lease?wait_ms=${WAIT_MS}`,
        );
        if (messages[0] === undefined) throw new Error('the lease is empty');
        await call(server, 'POST', `/v1/leases/${lease}/ack`);
        return seenInJson(messages[0]);
      },
      close: async () => void (await call(server, 'DELETE', `/v1/queues/${queue}`)),
    };
  },
};

type WsFrame = JsonMessage & { op: string; id?: number };

class WsClient {
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (frame: WsFrame) => void>();
  readonly inbox = new Inbox<Seen>();
  #next = 1;

  constructor(server: ServerUnderTest) {
    this.#socket = new WebSocket(`ws://${server.host}:${server.httpPort}/ws`, 'junction.json');
    this.#socket.on('error', () => {});
    this.#socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as WsFrame;
      if (frame.op === 'message') this.inbox.put(seenInJson(frame));
      else if (frame.id !== undefined) this.#answers.get(frame.id)?.(frame);
    });
  }

  async open(): Promise<void> {
    await once(this.#socket, 'open');
  }

  /** Send a frame and wait for its answer. */
  async ask(frame: object): Promise<void> {
    const id = this.#next++;
    const answer = new Promise<WsFrame>((resolve) => this.#answers.set(id, resolve));
    this.#socket.send(JSON.stringify({ ...frame, id }));
    const { op, ...rest } = await answer;
    if (op !== 'ok') throw new Error(`${op}: ${JSON.stringify(rest)}`);
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}

const ws: PeerKind = {
  name: 'ws',
  async publish(server, { topic, body, contentType }) {
    const client = new WsClient(server);
    await client.open();
    const properties = contentType === undefined ? {} : { properties: { content_type: contentType } };
    try {
      await client.ask({ op: 'publish', topic, payload: body.toString('base64'), encoding: 'base64', ...properties });
    } finally {
      await client.close();
    }
  },
  async subscribe(server, filter) {
    const client = new WsClient(server);
    await client.open();
    await client.ask({ op: 'subscribe', topic: filter });
    return { next: () => client.inbox.take(), close: () => client.close() };
  },
};

export const PEERS: readonly PeerKind[] = [mqtt, amqp, http, ws];
