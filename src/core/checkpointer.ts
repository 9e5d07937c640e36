/**
 * Checkpoints: when, and of which kind; and after each, giving segments without live bodies back. Everything runs in slices
 * beside the traffic.
 */
import type { Timer } from './clock.ts';
import type { Engine } from './engine.ts';
import type { LiveBodies } from './journal/journal.ts';
import { StateMoment, saveState } from './state.ts';
import type { Topology } from './topology.ts';

/** How often it is looked whether one is due. */
const LOOK_MS = 1_000;

export class Checkpointer {
  readonly #topology: Topology;
  readonly #engine: Engine;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #lastMs: number;
  #stopped = false;

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#engine = topology.engine;
    this.#lastMs = this.#engine.clock.monotonic();
  }

  /** Look from time to time. */
  start(): void {
    this.#timer = this.#engine.clock.after(LOOK_MS, () => {
      if (this.#due()) void this.run();
      if (!this.#stopped) this.start();
    });
  }

  /** Look no more; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #due(): boolean {
    const { journal, limits, clock } = this.#engine;
    const bytes = journal.bytesSinceCheckpoint;
    if (bytes === 0 || this.#stopped) return false;
    const sinceMs = clock.monotonic() - this.#lastMs;
    // What was settled meanwhile gives space back only after a checkpoint, and publishers wait for that space.
    if (this.#engine.blockedBy !== undefined && sinceMs >= limits.diskCheckMs) return true;
    return bytes >= limits.checkpointLogBytes || sinceMs >= limits.checkpointMs;
  }

  /** Make one now, unless one is under way: then that one. Failures are logged; the next one makes up for them. */
  run(): Promise<void> {
    this.#running ??= this.#checkpoint().then(
      () => this.#ended(),
      (error: Error) => {
        this.#engine.log('error', 'a checkpoint failed; the log is kept until one succeeds', { error: error.message });
        this.#ended();
      },
    );
    return this.#running;
  }

  #ended(): void {
    this.#running = undefined;
    this.#lastMs = this.#engine.clock.monotonic();
  }

  async #checkpoint(): Promise<void> {
    const engine = this.#engine;
    const { journal, bodies, clock, limits } = engine;
    // A deletion half done would be in the state, but its record would no longer be replayed.
    while (engine.background.busy) await engine.background.whenIdle();
    const { full, deltas } = journal.checkpointBytes;
    const kind = full === 0 || deltas >= full ? 'full' : 'delta';
    // From here to the call of `checkpoint` nothing may come between: the state is that of the sealed batch.
    engine.flushSettlements();
    const batch = journal.seal();
    const pages = bodies.loggedIndex.pages.snapshot(kind);
    engine.targetSetGeneration++;
    const moment = new StateMoment(this.#topology);
    const state = saveState(moment, pages, () => journal.whenDurable(batch), clock, limits.sliceMs);
    try {
      await journal.checkpoint(batch, state, kind);
    } catch (error) {
      pages.abort();
      throw error;
    } finally {
      await engine.background.run(moment.end());
    }
    pages.commit();
    engine.log('debug', 'checkpoint', { batch, kind, bytes: pages.bytes });
    await journal.reclaim(await this.#live());
  }

  /**
   * Live bodies as the log knows them: a body counts as gone only when the record that settles it is durable. Else a crash
   * could bring back an entry whose segment was removed.
   */
  async #live(): Promise<LiveBodies> {
    const engine = this.#engine;
    const { bodies } = engine;
    const bytes = bodies.liveSegments();
    await this.#allDurable();
    return {
      bytes: (segment) => bytes.get(segment) ?? 0,
      refs: async (segments) => {
        const refs = await bodies.refsIn(segments, engine.background);
        await this.#allDurable();
        return refs;
      },
    };
  }

  #allDurable(): Promise<void> {
    this.#engine.flushSettlements();
    return this.#engine.whenDurable();
  }
}
