/** The scenarios: the rows of the speed table of the design, and latency at a fixed rate. */

import { runLoad } from './generator.ts';
import type { Result } from './load/measure.ts';
import type { LoadSpec } from './load/spec.ts';
import { runParked } from './parked.ts';
import type { Protocol, RunningPeer } from './peers/peer.ts';

export interface Settings {
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Messages of `parked-10m`. */
  readonly parked: number;
  /** Compiled command line of our server. */
  readonly cli: string;
}

/** Figures of one row. A scenario of several phases gives several rows. */
export interface Row {
  readonly row: string;
  readonly result: Result;
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  readonly protocol: Protocol;
  /** Run against a server that was just started. */
  readonly run?: (peer: RunningPeer, settings: Settings) => Promise<Row[]>;
  /** Of a scenario for our server alone, which it starts and stops itself in a folder. */
  readonly runOurs?: (folder: string, settings: Settings) => Promise<Row[]>;
}

const SMALL_BYTES = 100;
const KILOBYTE = 1024;
const BACKLOG = 200_000;
const RATE = 5000;

/** What a scenario adds to port and process. */
type Shape = LoadSpec extends infer L
  ? L extends LoadSpec
    ? Omit<L, 'port' | 'pid' | 'seconds' | 'warmupSeconds'>
    : never
  : never;

function timed(name: string, what: string, protocol: Protocol, shape: Shape): Scenario {
  return {
    name,
    what,
    protocol,
    async run(peer, { seconds, warmupSeconds }) {
      const load = { ...shape, port: peer.port(protocol), pid: peer.pid, seconds, warmupSeconds } as LoadSpec;
      return [{ row: name, result: await runLoad(load) }];
    },
  };
}

const backlog: Scenario = {
  name: 'amqp-backlog',
  what: `${BACKLOG} persistent messages of 1 KB into a durable queue, each confirmed; then out of it, each acknowledged`,
  protocol: 'amqp',
  async run(peer) {
    const common = {
      port: peer.port('amqp'),
      pid: peer.pid,
      payloadBytes: KILOBYTE,
      queue: 'backlog',
      messages: BACKLOG,
    };
    const into = await runLoad({ ...common, kind: 'fill', window: 2000, tenths: false });
    const out = await runLoad({ ...common, kind: 'drain', prefetch: 1000 });
    return [
      { row: 'amqp-backlog in', result: into },
      { row: 'amqp-backlog out', result: out },
    ];
  },
};

export const SCENARIOS: readonly Scenario[] = [
  timed('mqtt-qos0-4to4', 'QoS 0, 4 publishers to 4 subscribers, 100 B', 'mqtt', {
    kind: 'mqtt',
    qos: 0,
    clean: true,
    flows: 4,
    subscribers: 1,
    payloadBytes: SMALL_BYTES,
    window: 1000,
  }),
  timed('mqtt-qos1-4to4', 'QoS 1, 4 to 4, 100 B, durable sessions; ours on disk before PUBACK', 'mqtt', {
    kind: 'mqtt',
    qos: 1,
    clean: false,
    flows: 4,
    subscribers: 1,
    payloadBytes: SMALL_BYTES,
    window: 1000,
  }),
  timed('mqtt-fanout-1to50', 'QoS 0, 1 publisher to 50 subscribers, 100 B; deliveries a second', 'mqtt', {
    kind: 'mqtt',
    qos: 0,
    clean: true,
    flows: 1,
    subscribers: 50,
    payloadBytes: SMALL_BYTES,
    window: 1000,
  }),
  timed('amqp-transient-2to2', 'transient, 2 to 2, 100 B, an acknowledgement each, prefetch 1000', 'amqp', {
    kind: 'amqp',
    persistent: false,
    flows: 2,
    prefetch: 1000,
    payloadBytes: SMALL_BYTES,
    window: 2000,
  }),
  timed('amqp-persistent-confirmed-2to2', 'the same, persistent, durable queues, confirms', 'amqp', {
    kind: 'amqp',
    persistent: true,
    flows: 2,
    prefetch: 1000,
    payloadBytes: SMALL_BYTES,
    window: 2000,
  }),
  backlog,
  timed('mqtt-idle-10k', 'idle MQTT connections: memory each', 'mqtt', {
    kind: 'idle',
    connections: 10_000,
    payloadBytes: 0,
  }),
  timed('latency-5k-mqtt-qos0', `QoS 0 at ${RATE} messages/s: publisher to subscriber`, 'mqtt', latency('mqtt-qos0')),
  timed('latency-5k-mqtt-qos1', `QoS 1 at ${RATE} messages/s: publisher to subscriber`, 'mqtt', latency('mqtt-qos1')),
  timed('latency-5k-amqp', `persistent at ${RATE} messages/s: publisher to consumer`, 'amqp', latency('amqp')),
  {
    name: 'parked-10m',
    what: 'persistent messages of 1 KB left in a queue: memory, speed, restart (ours only)',
    protocol: 'amqp',
    runOurs: (folder, settings) => runParked(settings.cli, folder, settings.parked, KILOBYTE),
  },
];

function latency(protocol: 'mqtt-qos0' | 'mqtt-qos1' | 'amqp'): Shape {
  return { kind: 'latency', protocol, messagesPerSecond: RATE, payloadBytes: SMALL_BYTES };
}
