/** Real clients that put load on the server until it dies under them, and tell the ledger what they know. */
import { connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import type { Prng } from '../../src/testing/prng.ts';
import type { Ledger, Receive } from './ledger.ts';
import type { Ports } from './server-process.ts';

/** One durable queue takes what both publishers send. */
export const QUEUE = 'crash';
export const PATTERN = 'crash.#';

/** A client under load: `stop` ends it in an orderly way; a dying server ends it by itself. */
export interface LoadClient {
  stop(): Promise<void>;
}

/** Numbers of the publishers go on from round to round, so that an id is sent once only. */
export class Counter {
  #next = 0;
  next(): number {
    return this.#next++;
  }
}

const swallow = (): void => {};

function bodyOf(id: string, random: Prng): Buffer {
  // Mostly small, sometimes large enough to fill batches and cross frames.
  const size = random.below(20) === 0 ? random.below(200_000) : random.below(2_000);
  return Buffer.from(`${id} ${'.'.repeat(size)}`);
}

export function idOf(body: Buffer): string {
  const space = body.indexOf(0x20);
  return body.toString('latin1', 0, space === -1 ? body.length : space);
}

/** Persistent publishes over AMQP 0-9-1 with confirms, `window` of them under way. */
export async function amqpPublisher(
  ports: Ports,
  ledger: Ledger,
  numbers: Counter,
  random: Prng,
  window = 200,
): Promise<LoadClient> {
  const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${ports.amqp}`);
  connection.on('error', swallow);
  const channel = await connection.createConfirmChannel();
  channel.on('error', swallow);
  await channel.assertQueue(QUEUE, { durable: true });
  await channel.bindQueue(QUEUE, 'amq.topic', PATTERN);
  let running = true;
  let under = 0;
  const fill = (): void => {
    while (running && under < window) {
      const id = `amqp:${numbers.next()}`;
      under++;
      ledger.sent(id);
      channel.publish('amq.topic', 'crash.amqp', bodyOf(id, random), { persistent: true }, (error: unknown) => {
        under--;
        if (error === null || error === undefined) ledger.confirmed(id);
        if (running) setImmediate(fill);
      });
    }
  };
  connection.on('close', () => {
    running = false;
  });
  fill();
  return {
    stop: async () => {
      running = false;
      await connection.close().catch(swallow);
    },
  };
}

/** QoS 1 publishes over MQTT; a PUBACK is the confirm. */
export async function mqttPublisher(
  ports: Ports,
  ledger: Ledger,
  numbers: Counter,
  random: Prng,
  window = 50,
): Promise<LoadClient> {
  const client = await connectMqtt(`mqtt://127.0.0.1:${ports.mqtt}`, {
    reconnectPeriod: 0,
    clientId: 'crash-publisher',
  });
  client.on('error', swallow);
  let running = true;
  let under = 0;
  const fill = (): void => {
    while (running && under < window) {
      const id = `mqtt:${numbers.next()}`;
      under++;
      ledger.sent(id);
      client.publish('crash/mqtt', bodyOf(id, random), { qos: 1 }, (error) => {
        under--;
        if (!error) ledger.confirmed(id);
        if (running) setImmediate(fill);
      });
    }
  };
  client.on('close', () => {
    running = false;
  });
  fill();
  return {
    stop: async () => {
      running = false;
      await client.endAsync(true);
    },
  };
}

/** Consumes with acknowledgements, hands some back, and leaves some unsettled when it dies. */
export async function amqpConsumer(ports: Ports, ledger: Ledger, random: Prng, prefetch = 100): Promise<LoadClient> {
  const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${ports.amqp}`);
  connection.on('error', swallow);
  const channel = await connection.createChannel();
  channel.on('error', swallow);
  await channel.assertQueue(QUEUE, { durable: true });
  await channel.prefetch(prefetch);
  const receive = ledger.consumer();
  let open = true;
  connection.on('close', () => {
    open = false;
  });
  await channel.consume(QUEUE, (message) => {
    if (message === null || !open) return;
    receive(idOf(message.content), message.fields.redelivered);
    const dice = random.below(100);
    if (dice < 3) channel.nack(message, false, true);
    else if (dice < 10) setImmediate(() => open && channel.ack(message));
    else channel.ack(message);
  });
  return { stop: () => connection.close().catch(swallow) };
}

interface Lease {
  lease: string | null;
  messages: { payload: string; encoding: 'utf8' | 'base64'; redeliveries: number }[];
}

const AUTHORIZATION = `Basic ${Buffer.from('guest:guest').toString('base64')}`;

/** Leases over HTTP: when the acknowledgement is answered, the messages are gone for good. Answers how many it took. */
export async function httpConsume(ports: Ports, ledger: Ledger, receive: Receive, max: number): Promise<number> {
  const base = `http://127.0.0.1:${ports.http}/v1`;
  const headers = { authorization: AUTHORIZATION };
  const answer = await fetch(`${base}/queues/${QUEUE}/lease?max=${max}`, { method: 'POST', headers });
  if (!answer.ok) throw new Error(`lease answered ${answer.status}: ${await answer.text()}`);
  const { lease, messages } = (await answer.json()) as Lease;
  if (lease === null) return 0;
  const ids = messages.map(({ payload, encoding }) => idOf(Buffer.from(payload, encoding)));
  for (const [at, { redeliveries }] of messages.entries()) receive(ids[at] as string, redeliveries > 0);
  const ack = await fetch(`${base}/leases/${lease}/ack`, { method: 'POST', headers });
  if (!ack.ok) throw new Error(`ack answered ${ack.status}: ${await ack.text()}`);
  await ack.arrayBuffer();
  for (const id of ids) ledger.gone(id);
  return ids.length;
}

export async function httpConsumer(ports: Ports, ledger: Ledger, random: Prng): Promise<LoadClient> {
  const receive = ledger.consumer();
  let running = true;
  const loop = (async () => {
    while (running) await httpConsume(ports, ledger, receive, 1 + random.below(20));
  })().catch((error: unknown) => {
    // The server died in the middle of a request: what was not answered is uncertain, and the ledger was not told.
    if (!(error instanceof TypeError)) throw error;
    running = false;
  });
  return {
    stop: async () => {
      running = false;
      await loop;
    },
  };
}
