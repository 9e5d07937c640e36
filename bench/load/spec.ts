/** What the runner asks a load generator to do: one process, one run. */
interface Common {
  readonly port: number;
  /** Process of the server, whose CPU and memory are read. */
  readonly pid: number;
  readonly payloadBytes: number;
}

interface Timed {
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export interface MqttLoad extends Common, Timed {
  readonly kind: 'mqtt';
  readonly qos: 0 | 1;
  /** False: the subscribers' sessions are durable. */
  readonly clean: boolean;
  /** Publishers, each with a topic of its own. */
  readonly flows: number;
  /** Subscribers of each topic. */
  readonly subscribers: number;
  /** Messages under way on each flow at most. */
  readonly window: number;
}

export interface AmqpLoad extends Common, Timed {
  readonly kind: 'amqp';
  /** Durable queue, persistent messages, and the window also waits for confirms. */
  readonly persistent: boolean;
  readonly flows: number;
  readonly prefetch: number;
  readonly window: number;
}

export interface LatencyLoad extends Common, Timed {
  readonly kind: 'latency';
  readonly protocol: 'mqtt-qos0' | 'mqtt-qos1' | 'amqp';
  readonly messagesPerSecond: number;
}

/** Publish persistent messages into a durable queue with confirms. */
export interface FillLoad extends Common {
  readonly kind: 'fill';
  readonly queue: string;
  readonly messages: number;
  readonly window: number;
  /** Also answer the rate of each tenth, which shows whether what is parked slows down what comes. */
  readonly tenths: boolean;
}

/** Consume and acknowledge until the queue is empty. */
export interface DrainLoad extends Common {
  readonly kind: 'drain';
  readonly queue: string;
  readonly messages: number;
  readonly prefetch: number;
}

/** Hold idle MQTT connections. */
export interface IdleLoad extends Common {
  readonly kind: 'idle';
  readonly connections: number;
}

export type LoadSpec = MqttLoad | AmqpLoad | LatencyLoad | FillLoad | DrainLoad | IdleLoad;
