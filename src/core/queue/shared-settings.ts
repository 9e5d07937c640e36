/** Settings of queues: thousands of queues are declared alike, and then they share one object. */
import type { QueueSettings } from '../door.ts';

/** Kinds of settings remembered; with more of them than this, remembering starts anew. */
const KINDS_MAX = 1024;

export class SharedSettings {
  readonly #known = new Map<string, QueueSettings>();

  /** The same settings, as an object that others may have too. Nobody may change it. */
  of(settings: QueueSettings): QueueSettings {
    const { durable, autoDelete, exclusive } = settings;
    const args = Object.entries(settings.arguments);
    // Other values have no text that says exactly what they are.
    if (args.some(([, value]) => typeof value === 'object' || typeof value === 'bigint')) return settings;
    const key = JSON.stringify([durable, autoDelete, exclusive, args]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= KINDS_MAX) this.#known.clear();
    const shared = { durable, autoDelete, exclusive, arguments: settings.arguments };
    this.#known.set(key, shared);
    return shared;
  }
}
