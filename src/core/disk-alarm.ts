/** The alarm for want of disk space: publishers are blocked while there is less than `limits.diskFreeBytesMin`; settling goes on. */
import type { Broker } from './broker.ts';
import type { Timer } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Engine } from './engine.ts';

/** Free space that ends the alarm, as a multiple of the limit: it shall not come and go with every segment. */
const RELIEF = 1.1;

export class DiskAlarm {
  readonly #engine: Engine;
  readonly #broker: Broker;
  readonly #disk: Disk;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(engine: Engine, broker: Broker, disk: Disk) {
    this.#engine = engine;
    this.#broker = broker;
    this.#disk = disk;
  }

  /** Look now and then again and again; resolves after the first look. */
  async start(): Promise<void> {
    await this.#look();
    if (this.#stopped) return;
    this.#timer = this.#engine.clock.after(this.#engine.limits.diskCheckMs, () => void this.start());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const { log, limits, blockedBy } = this.#engine;
    let free: number;
    try {
      free = await this.#disk.freeBytes();
    } catch (error) {
      log('warn', 'cannot tell how much disk space is free', { error: (error as Error).message });
      return;
    }
    const min = limits.diskFreeBytesMin;
    if (blockedBy === undefined && free < min) {
      log('warn', 'disk alarm: publishers are blocked', { freeBytes: free, wantedBytes: min });
      this.#broker.setAlarm('disk');
    } else if (blockedBy === 'disk' && free >= min * RELIEF) {
      log('info', 'disk alarm is over', { freeBytes: free });
      this.#broker.setAlarm(undefined);
    }
  }
}
