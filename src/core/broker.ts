/** The broker as adapters see it: formats, clients, the control plane, alarms. */
import { Admin } from './admin.ts';
import { Client } from './client.ts';
import type { Broker as BrokerDoor, Client as ClientDoor, ClientHandlers, Identity } from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import { hubOf } from './hub.ts';
import type { Format, HubProperties, Message } from './message.ts';
import type { Topology } from './topology.ts';

export class Broker implements BrokerDoor {
  readonly admin: Admin;
  readonly delayLevelsMs: readonly number[];
  readonly #engine: Engine;
  readonly #topology: Topology;
  readonly #clients = new Map<number, Client>();
  #lastClient = 0;
  #stopping = false;

  constructor(topology: Topology, delayLevelsMs: readonly number[]) {
    this.#topology = topology;
    this.delayLevelsMs = delayLevelsMs;
    this.#engine = topology.engine;
    this.admin = new Admin(topology, this.#clients);
  }

  get blockedBy(): string | undefined {
    return this.#engine.blockedBy;
  }

  registerFormat(format: Format): void {
    const { formats } = this.#engine;
    if (!(Number.isInteger(format.id) && format.id >= 1 && format.id <= 255)) {
      throw new CoreError('invalid-argument', `format id ${format.id} is not from 1 to 255`);
    }
    const known = formats[format.id];
    if (known !== undefined && known !== format) {
      throw new CoreError('already-exists', `format ${format.id} is '${known.name}'`);
    }
    formats[format.id] = format;
  }

  format(id: number): Format | undefined {
    return this.#engine.formats[id];
  }

  hub(message: Message): HubProperties {
    return hubOf(this.#engine.formats, message);
  }

  client(vhost: string, identity: Identity, handlers: ClientHandlers): ClientDoor {
    if (this.#stopping) throw new CoreError('stopping');
    const home = this.#topology.vhost(vhost);
    const { connectionsMax } = this.#engine.limits;
    if (this.#clients.size >= connectionsMax) throw new CoreError('connection-limit', `${connectionsMax} are allowed`);
    const client = new Client(++this.#lastClient, home, identity, handlers, (gone) => {
      this.#clients.delete(gone.id);
      home.clients.delete(gone);
    });
    this.#clients.set(client.id, client);
    home.clients.add(client);
    return client;
  }

  /** An alarm starts, goes on for another reason, or ends (undefined). */
  setAlarm(reason: string | undefined): void {
    const engine = this.#engine;
    const before = engine.blockedBy;
    if (reason === before) return;
    engine.blockedBy = reason;
    if (reason === undefined) {
      engine.takenInAlarm = 0;
      for (const client of [...this.#clients.values()]) client.handlers.onUnblocked?.();
      if (!engine.journal.pressed) engine.drain();
    } else {
      for (const client of [...this.#clients.values()]) client.handlers.onBlocked?.(reason);
    }
  }

  /** Close every client; take no more. */
  stop(): void {
    this.#stopping = true;
    for (const client of [...this.#clients.values()]) client.closeBy('stopping', 'the broker is stopping');
  }
}
