/**
 * The machine a simulation runs a broker on: a disk and a clock that do not exist. It starts the broker, and ends it in every way
 * there is.
 */
import { type Arguments, type Broker, type Client, type Limits, limitsWith } from '../core/index.ts';
import { openJournal, type RecoveryRemedy } from '../core/journal/index.ts';
import { type Internals, type Log, type RunningBroker, startBroker } from '../core/start.ts';
import { SimClock } from './sim-clock.ts';
import { SimDisk, type SimDiskOptions } from './sim-disk.ts';

/** Small, so that segments roll, bodies leave memory, and what is to be in one batch needs a larger one. */
const SMALL = {
  segmentBytes: 64 * 1024,
  batchBytesMax: 8 * 1024,
  tailCacheBytesMax: 16 * 1024,
  readAheadBytesMax: 8 * 1024,
  diskFreeBytesMin: 0,
};
const IDENTITY = { user: 'sim', clientId: 'sim', protocol: 'sim', peer: '' };
const DURABLE = { durable: true, autoDelete: false, exclusive: false };

/** How an end goes: everything is written; the process dies; unsynced bytes are lost too. */
export type Ended = 'clean' | 'kill' | 'crash';

export interface SimMachineOptions {
  readonly seed: number;
  /** Where they are not to be the usual small ones. */
  readonly limits?: Partial<Limits>;
  readonly fault?: SimDiskOptions['fault'];
  readonly log?: Log;
}

export class SimMachine {
  readonly clock = new SimClock();
  readonly #options: SimMachineOptions;
  readonly #limits: Limits;
  #disk: SimDisk;
  #running!: RunningBroker & { internals: Internals };

  constructor(options: SimMachineOptions) {
    this.#options = options;
    this.#limits = limitsWith({ ...SMALL, ...options.limits });
    this.#disk = this.#newDisk();
  }

  get disk(): SimDisk {
    return this.#disk;
  }

  get broker(): Broker {
    return this.#running.broker;
  }

  /** The parts of the broker, also of one that has ended. */
  get internals(): Internals {
    return this.#running.internals;
  }

  /** Start a broker on what the disk has, and answer what it says of its start. Rejects as `openJournal` does. */
  async start(remedy?: RecoveryRemedy): Promise<string> {
    const { log = () => {} } = this.#options;
    const options = { disk: this.#disk, clock: this.clock, limits: this.#limits };
    const recovery = await this.clock.drive(openJournal({ ...options, remedy }));
    this.#running = await this.clock.drive(startBroker({ ...options, log }, recovery));
    return this.#running.summary;
  }

  /** End the broker, and what it has planned. */
  async end(how: Ended): Promise<void> {
    if (how === 'clean') await this.clock.drive(this.close());
    else if (how === 'crash') this.#disk.crash();
    else this.#disk.kill();
    this.clock.clear();
  }

  /** From now on an empty disk. */
  replaceDisk(): void {
    this.#disk = this.#newDisk();
  }

  #newDisk(): SimDisk {
    const { seed, fault } = this.#options;
    return new SimDisk({ seed: seed ^ 0x5eed, clock: this.clock, latencyMsMax: 2, fault });
  }

  // ---- What every simulation does ---------------------------------------------------------------------------------

  connect(): Client {
    return this.broker.client('/', IDENTITY, {});
  }

  /** Declare a durable queue. */
  async declare(name: string, args: Arguments = {}): Promise<void> {
    await this.clock.drive(this.broker.admin.declareQueue('/', name, { ...DURABLE, arguments: args }));
  }

  // These resolve when somebody drives the clock.

  close(): Promise<void> {
    return this.#running.close();
  }

  checkpoint(): Promise<void> {
    return this.internals.checkpointer.run();
  }
}
