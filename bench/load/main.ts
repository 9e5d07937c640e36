/** A load generator process: `node --import=tsx bench/load/main.ts SPEC`, SPEC as JSON; prints its `Result` as JSON. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AmqpClient, publishRing as amqpRing } from './amqp.ts';
import { Arrivals, Flow } from './flow.ts';
import { Latencies, type Result, rssBytes, Stopwatch } from './measure.ts';
import { MqttClient, publishRing as mqttRing, type Qos } from './mqtt.ts';
import type { AmqpLoad, DrainLoad, FillLoad, IdleLoad, LatencyLoad, LoadSpec, MqttLoad } from './spec.ts';

/** Ring size: a power of two above every window, below 65,536 because QoS 1 takes packet ids from it. */
const RING = 16_384;
const STALL_MS = 20_000;
/** Connections being opened at a time. */
const OPENERS = 50;

/** Wait until `done`, which must make progress. */
async function settle(what: string, progress: () => number, goal: number): Promise<void> {
  let last = -1;
  let since = Date.now();
  for (;;) {
    const now = progress();
    if (now >= goal) return;
    if (now !== last) {
      last = now;
      since = Date.now();
    } else if (Date.now() - since > STALL_MS) {
      throw new Error(`${what}: ${now} of ${goal} arrived, and nothing for ${STALL_MS} ms`);
    }
    await sleep(5);
  }
}

/** A flow with its clients behind it. */
interface Line {
  readonly flow: Flow;
  close(): void;
}

/** Until the flows may begin, and after the end, they send nothing. */
class Gate {
  limit = 0;
}

async function mqttLine(load: MqttLoad, index: number, gate: Gate, latencies: Latencies): Promise<Line> {
  const topic = `bench/flow/${index}/measurements`;
  const arrivals = Array.from({ length: load.subscribers }, () => new Arrivals());
  const acks = new Arrivals();
  const publisher = await MqttClient.open(load.port, `bench-pub-${index}`, true);
  const ring = mqttRing(topic, load.payloadBytes, load.qos, RING);
  const counted = load.qos === 0 ? arrivals : [...arrivals, acks];
  const write = (bytes: Buffer) => publisher.socket.write(bytes);
  const flow = new Flow({ ring, write, window: load.window, arrivals: counted, latencies });
  publisher.countAcks(acks, () => flow.pump(gate.limit));
  const clients = [publisher];
  for (const [number, arrival] of arrivals.entries()) {
    const client = await MqttClient.open(load.port, `bench-sub-${index}-${number}`, load.clean);
    clients.push(client);
    await client.subscribe(topic, load.qos);
    client.receive(arrival, RING, () => {
      if (number === 0) flow.time();
      flow.pump(gate.limit);
    });
  }
  return { flow, close: () => clients.forEach((client) => void client.close()) };
}

async function amqpLine(load: AmqpLoad, index: number, gate: Gate, latencies: Latencies): Promise<Line> {
  const queue = `bench-flow-${index}`;
  const arrivals = new Arrivals();
  const confirms = new Arrivals();
  const publisher = await AmqpClient.open(load.port);
  await publisher.declare(queue, load.persistent);
  if (load.persistent) await publisher.confirms();
  const ring = amqpRing(queue, load.payloadBytes, load.persistent, RING);
  const counted = load.persistent ? [arrivals, confirms] : [arrivals];
  const write = (bytes: Buffer) => publisher.socket.write(bytes);
  const flow = new Flow({ ring, write, window: load.window, arrivals: counted, latencies });
  publisher.countConfirms(confirms, () => flow.pump(gate.limit));
  const consumer = await AmqpClient.open(load.port);
  await consumer.consume(queue, load.prefetch, arrivals, RING, () => {
    flow.time();
    flow.pump(gate.limit);
  });
  return {
    flow,
    close: () => {
      publisher.close();
      consumer.close();
    },
  };
}

/** As fast as the windows allow. */
async function throughput(load: MqttLoad | AmqpLoad): Promise<Result> {
  const gate = new Gate();
  const latencies = new Latencies();
  const lines: Line[] = [];
  for (let i = 0; i < load.flows; i++) {
    lines.push(await (load.kind === 'mqtt' ? mqttLine(load, i, gate, latencies) : amqpLine(load, i, gate, latencies)));
  }
  const fanOut = load.kind === 'mqtt' ? load.subscribers : 1;
  const received = () => lines.reduce((sum, { flow }) => sum + flow.received(fanOut), 0);
  gate.limit = Infinity;
  for (const { flow } of lines) flow.pump(gate.limit);
  await sleep(load.warmupSeconds * 1000);
  latencies.clear();
  const watch = new Stopwatch(load.pid);
  const before = received();
  watch.start();
  await sleep(load.seconds * 1000);
  const result = watch.stop(received() - before, latencies);
  gate.limit = 0;
  for (const { flow } of lines) await settle('the end of the run', () => flow.done, flow.sent);
  for (const line of lines) line.close();
  return result;
}

/** At a fixed rate, whether or not the server keeps up: one flow, one message at a time, at the time it is due. */
async function latency(load: LatencyLoad): Promise<Result> {
  const gate = new Gate();
  const latencies = new Latencies();
  const common = { ...load, flows: 1, window: RING };
  const line =
    load.protocol === 'amqp'
      ? await amqpLine({ ...common, kind: 'amqp', persistent: true, prefetch: 1000 }, 0, gate, latencies)
      : await mqttLine({ ...common, kind: 'mqtt', ...mqttOf(load.protocol), subscribers: 1 }, 0, gate, latencies);
  const { flow } = line;
  const total = load.messagesPerSecond * (load.warmupSeconds + load.seconds);
  const intervalMs = 1000 / load.messagesPerSecond;
  const watch = new Stopwatch(load.pid);
  const start = performance.now();
  let warm = false;
  for (let number = 0; number < total; ) {
    // No timer is exact enough: between messages the loop just turns, and reads what came in.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const now = performance.now();
    if (!warm && now - start >= load.warmupSeconds * 1000) {
      warm = true;
      latencies.clear();
      watch.start();
    }
    for (; number < total && start + number * intervalMs <= now; number++) flow.sendNow(1, start + number * intervalMs);
  }
  await settle('the end of the run', () => flow.done, flow.sent);
  const result = watch.stop(load.messagesPerSecond * load.seconds, latencies);
  line.close();
  return result;
}

function mqttOf(protocol: 'mqtt-qos0' | 'mqtt-qos1'): { qos: Qos; clean: boolean } {
  return protocol === 'mqtt-qos0' ? { qos: 0, clean: true } : { qos: 1, clean: false };
}

async function fill(load: FillLoad): Promise<Result> {
  const confirms = new Arrivals();
  const latencies = new Latencies();
  const client = await AmqpClient.open(load.port);
  await client.declare(load.queue, true);
  await client.confirms();
  const ring = amqpRing(load.queue, load.payloadBytes, true, RING);
  const write = (bytes: Buffer) => client.socket.write(bytes);
  const flow = new Flow({ ring, write, window: load.window, arrivals: [confirms], latencies });
  client.countConfirms(confirms, () => {
    flow.time();
    flow.pump(load.messages);
  });
  const watch = new Stopwatch(load.pid);
  watch.start();
  flow.pump(load.messages);
  const extra: Record<string, number> = {};
  let before = performance.now();
  for (let tenth = 1; tenth <= 10; tenth++) {
    await settle('publishing', () => flow.done, Math.floor((load.messages * tenth) / 10));
    const now = performance.now();
    if (load.tenths) extra[`tenth${tenth}PerSecond`] = load.messages / 10 / ((now - before) / 1000);
    before = now;
  }
  const result = { ...watch.stop(load.messages, latencies), extra };
  client.close();
  return result;
}

async function drain(load: DrainLoad): Promise<Result> {
  const client = await AmqpClient.open(load.port);
  const arrivals = new Arrivals();
  const watch = new Stopwatch(load.pid);
  watch.start();
  await client.consume(load.queue, load.prefetch, arrivals, RING, () => {});
  await settle('draining', () => arrivals.count, load.messages);
  const result = watch.stop(load.messages);
  client.close();
  // What was acknowledged must be gone once the connection is.
  const check = await AmqpClient.open(load.port);
  await settle('deleting', () => Number(arrivals.count === load.messages), 1);
  const left = await check.declare(load.queue, true);
  check.close();
  if (left > 0) throw new Error(`${left} messages were left in ${load.queue}`);
  return result;
}

async function idle(load: IdleLoad): Promise<Result> {
  const before = rssBytes(load.pid);
  const watch = new Stopwatch(load.pid);
  watch.start();
  const clients: MqttClient[] = [];
  const opener = async (first: number) => {
    for (let i = first; i < load.connections; i += OPENERS) {
      clients.push(await MqttClient.open(load.port, `bench-idle-${i}`, true));
    }
  };
  await Promise.all(Array.from({ length: OPENERS }, (_, i) => opener(i)));
  const connectSeconds = watch.stop(0).seconds;
  // Let the server's garbage collector come to rest.
  await sleep(5000);
  const result = watch.stop(0);
  const extra = {
    bytesPerConnection: Math.round((result.serverRssBytes - before) / load.connections),
    connectsPerSecond: Math.round(load.connections / connectSeconds),
  };
  for (const client of clients) client.close();
  return { ...result, extra };
}

function run(load: LoadSpec): Promise<Result> {
  switch (load.kind) {
    case 'mqtt':
    case 'amqp':
      return throughput(load);
    case 'latency':
      return latency(load);
    case 'fill':
      return fill(load);
    case 'drain':
      return drain(load);
    case 'idle':
      return idle(load);
  }
}

const result = await run(JSON.parse(process.argv[2] as string) as LoadSpec);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
