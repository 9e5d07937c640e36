/** Real clients for the cases: mqtt.js, and the command-line clients of Mosquitto. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { ServerUnderTest } from '../case.ts';

/** Longest wait for one thing that must come. */
const WAIT_MS = 8_000;

export interface Received {
  topic: string;
  text: string;
  qos: number;
  retain: boolean;
  dup: boolean;
}

/** mqtt.js with its messages in a list. */
export class Client {
  readonly mqtt: MqttClient;
  readonly sessionPresent: boolean;
  readonly #messages: Received[] = [];
  #wake: (() => void) | undefined;

  private constructor(client: MqttClient, sessionPresent: boolean) {
    this.mqtt = client;
    this.sessionPresent = sessionPresent;
  }

  /** Connect to `server`. A session that is resumed delivers at once: its messages are not missed. */
  static async open(server: ServerUnderTest, options: IClientOptions = {}): Promise<Client> {
    const client = mqtt.connect({
      host: server.host,
      port: server.mqttPort,
      protocolVersion: 4,
      reconnectPeriod: 0,
      connectTimeout: WAIT_MS,
      ...options,
    });
    const early: Received[] = [];
    const keep = (topic: string, payload: Buffer, packet: IPublishPacket): void => {
      early.push({ topic, text: payload.toString(), qos: packet.qos, retain: packet.retain, dup: packet.dup });
    };
    client.on('message', keep);
    const sessionPresent = await new Promise<boolean>((resolve, reject) => {
      client.once('connect', (connack) => resolve(connack.sessionPresent));
      client.once('error', reject);
    });
    const opened = new Client(client, sessionPresent);
    client.off('message', keep);
    opened.#messages.push(...early);
    client.on('message', (topic, payload, packet) => {
      const { qos, retain, dup } = packet;
      opened.#messages.push({ topic, text: payload.toString(), qos, retain, dup });
      opened.#wake?.();
    });
    return opened;
  }

  /** The next message; rejects when none comes in time. */
  async next(): Promise<Received> {
    const deadline = Date.now() + WAIT_MS;
    while (this.#messages.length === 0) {
      if (Date.now() > deadline) throw new Error('no message came');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#messages.shift() as Received;
  }

  async take(count: number): Promise<Received[]> {
    const messages: Received[] = [];
    for (let n = 0; n < count; n++) messages.push(await this.next());
    return messages;
  }

  /** DISCONNECT. */
  async close(): Promise<void> {
    await this.mqtt.endAsync();
  }

  /** Cut the connection without a DISCONNECT. */
  async cut(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.mqtt.once('close', () => resolve()));
    this.mqtt.stream.destroy();
    await closed;
    await this.mqtt.endAsync(true);
  }
}

/** A command-line client of Mosquitto: its lines, and its end. */
export class Command {
  readonly lines: string[] = [];
  readonly done: Promise<number>;
  readonly #child: ChildProcess;

  constructor(server: ServerUnderTest, command: string, ...args: string[]) {
    this.#child = spawn(command, ['-h', server.host, '-p', String(server.mqttPort), ...args]);
    let rest = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
    });
    this.done = once(this.#child, 'exit').then(([code]) => Number(code ?? -1));
  }

  stop(): void {
    this.#child.kill();
  }
}
