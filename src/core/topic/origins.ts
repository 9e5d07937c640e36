/** Idempotent producers: numbers and epochs given out. Those with a name keep their number; opening one again ends the epoch before,
 *  so that what an older instance still sends is refused. */
import type { OriginInfo } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { MessageOrigin } from '../message.ts';
import { type TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import { readOrigin, type StoredOrigin, TOPIC_RECORD, writeOrigin } from './records.ts';

const record = new TlvWriter();

export class Origins {
  readonly #topology: Topology;
  /** By number of the virtual host, then by name. */
  readonly #named = new Map<number, Map<string, StoredOrigin>>();
  /** Epochs of those with a name, by number. */
  readonly #epochs = new Map<number, number>();

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  /** A number and an epoch for a producer. Throws `invalid-argument`, `limit-exceeded`. @param name '' = used once */
  open(vhost: Vhost, name: string): MessageOrigin {
    const { engine } = this.#topology;
    const { nameBytesMax, originsPerVhostMax } = engine.limits;
    if (Buffer.byteLength(name) > nameBytesMax) {
      throw new CoreError('invalid-argument', `the name of a producer has more than ${nameBytesMax} bytes`);
    }
    const known = this.#named.get(vhost.id)?.get(name);
    if (known === undefined && (this.#named.get(vhost.id)?.size ?? 0) >= originsPerVhostMax) {
      throw new CoreError('limit-exceeded', `${originsPerVhostMax} named producers in virtual host '${vhost.name}'`);
    }
    const origin: StoredOrigin = {
      vhostId: vhost.id,
      name,
      id: known?.id ?? this.#topology.nextId(),
      epoch: known === undefined ? 0 : known.epoch + 1,
    };
    writeOrigin(record.reset(), origin);
    this.#topology.engine.append(TOPIC_RECORD.origin, record);
    this.#apply(origin);
    return { id: origin.id, epoch: origin.epoch };
  }

  /** Forget a name. Throws `not-found`. */
  delete(vhost: Vhost, name: string): void {
    const known = this.#named.get(vhost.id)?.get(name);
    if (known === undefined) throw new CoreError('not-found', `producer '${name}' in virtual host '${vhost.name}'`);
    record.reset().u32(vhost.id).text(name);
    this.#topology.engine.append(TOPIC_RECORD.originDelete, record);
    this.#forget(vhost.id, name);
  }

  /** Throws `fenced` when there is a newer instance of the producer, `invalid-argument` when nobody was given this one. */
  check({ id, epoch }: MessageOrigin): void {
    const newest = this.#epochs.get(id) ?? 0;
    if (!Number.isInteger(id) || id < 1 || id > this.#topology.lastId || !Number.isInteger(epoch) || epoch > newest) {
      throw new CoreError('invalid-argument', `there is no producer ${id} with epoch ${epoch}`);
    }
    if (epoch < newest) throw new CoreError('fenced', `producer ${id} has epoch ${newest}, not ${epoch}`);
  }

  list(vhost: Vhost): OriginInfo[] {
    return Array.from(this.#named.get(vhost.id)?.values() ?? [], ({ name, id, epoch }) => ({ name, id, epoch }));
  }

  removeVhost(vhost: Vhost): void {
    for (const { id } of this.#named.get(vhost.id)?.values() ?? []) this.#epochs.delete(id);
    this.#named.delete(vhost.id);
  }

  #apply(origin: StoredOrigin): void {
    const { vhostId, name, id, epoch } = origin;
    this.#topology.used(id);
    if (name === '') return;
    let names = this.#named.get(vhostId);
    if (names === undefined) {
      names = new Map();
      this.#named.set(vhostId, names);
    }
    names.set(name, origin);
    this.#epochs.set(id, epoch);
  }

  #forget(vhostId: number, name: string): void {
    const names = this.#named.get(vhostId);
    this.#epochs.delete(names?.get(name)?.id ?? 0);
    names?.delete(name);
  }

  // ---- Replay and checkpoints -------------------------------------------------------------------------------------

  replay(type: number, from: TlvReader): void {
    if (type === TOPIC_RECORD.origin) this.load(from);
    else this.#forget(from.u32(), from.text());
  }

  moment(): StoredOrigin[] {
    return [...this.#named.values()].flatMap((names) => [...names.values()]);
  }

  /** Take in an origin as a checkpoint or a record holds it. */
  load(from: TlvReader): void {
    this.#apply(readOrigin(from));
  }
}
