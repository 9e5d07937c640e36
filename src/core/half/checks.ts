/**
 * Asking producers what became of their halves: when, whom, and with what. A check goes to the next member of the half's group
 * that has room for it, else to the address registered for the group. One that reaches nobody counts as well.
 */
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { Message } from '../message.ts';
import { readStored } from '../stored-message.ts';
import { findBodies, loadBodies, type StoredBody } from './bodies.ts';
import type { HalfCaller, HalfCheck } from './door.ts';
import type { Half } from './half.ts';
import type { ProducerGroup } from './producer-group.ts';
import { Schedule } from './schedule.ts';

/** The messages of all checks are shown through this one view. */
const view = new Message();

export class Checks {
  /** Asks at the addresses of groups. */
  caller: HalfCaller | undefined;
  readonly #engine: Engine;
  readonly #count: (half: Half) => void;
  readonly #schedule: Schedule<Half>;

  /** @param count takes down that a half is about to be asked about, or is parked */
  constructor(engine: Engine, count: (half: Half) => void) {
    this.#engine = engine;
    this.#count = count;
    this.#schedule = new Schedule(engine.clock, (half) => this.#due(half));
  }

  /** Check a half when it is time. */
  plan(half: Half): void {
    if (half.parked) return;
    this.#schedule.set(half, Math.max(0, half.state.nextCheckMs - this.#engine.clock.now()));
  }

  /**
   * The same after a start. Who is due by now is given the time producers need to connect again; and nobody waits longer than its
   * settings say, whatever the clock did meanwhile.
   */
  resume(half: Half): void {
    if (half.parked) return;
    const { checks, nextCheckMs } = half.state;
    const { preparedAtMs, checkEveryMs } = half.facts;
    const longestMs = checks === 0 ? nextCheckMs - preparedAtMs : checkEveryMs;
    const leftMs = Math.min(nextCheckMs - this.#engine.clock.now(), longestMs);
    this.#schedule.set(half, leftMs > 0 ? leftMs : this.#engine.limits.halfFirstCheckMs);
  }

  forget(half: Half): void {
    this.#schedule.delete(half);
  }

  stop(): void {
    this.#schedule.stop();
  }

  #due(half: Half): void {
    if (this.#engine.failure !== undefined || this.#engine.closed) return;
    this.#count(half);
    if (half.parked) return;
    this.plan(half);
    const { group } = half;
    if (half.asking || !group.reachable) return;
    half.asking = true;
    group.waiting.push(half);
    this.#askMore(group);
  }

  #askMore(group: ProducerGroup): void {
    while (group.waiting.size > 0 && group.asking < this.#engine.limits.halfChecksAtOnceMax) {
      const half = group.waiting.shift() as Half;
      group.asking++;
      void this.#ask(half).finally(() => {
        half.asking = false;
        group.asking--;
        this.#askMore(group);
      });
    }
  }

  async #ask(half: Half): Promise<void> {
    const engine = this.#engine;
    const { parts } = half.state;
    if (isOver(half)) return;
    try {
      const bodies = findBodies(engine, parts) ?? (await loadBodies(engine, parts));
      if (isOver(half) || engine.closed) return;
      const question = (): Question => new Question(engine, half, bodies);
      const { group } = half;
      if (group.ask(question) || group.callback === undefined) return;
      await this.caller?.(group.callback, question());
    } catch (error) {
      // What became of it meanwhile needs no reading.
      if (isOver(half)) return;
      engine.log('error', 'a half message cannot be read', { half: half.name, error: (error as Error).message });
    }
  }
}

function isOver({ outcome, committing }: Half): boolean {
  return outcome !== undefined || committing !== undefined;
}

/** A check, as producers see it. */
class Question implements HalfCheck {
  readonly message: Message = view;
  readonly #engine: Engine;
  readonly #half: Half;
  readonly #bodies: readonly StoredBody[];
  #at = 0;

  constructor(engine: Engine, half: Half, bodies: readonly StoredBody[]) {
    this.#engine = engine;
    this.#half = half;
    this.#bodies = bodies;
  }

  get vhost(): string {
    return this.#half.group.vhost.name;
  }

  get group(): string {
    return this.#half.group.name;
  }

  get id(): string {
    return this.#half.facts.id;
  }

  get check(): number {
    return this.#half.state.checks;
  }

  get checksMax(): number {
    return this.#half.facts.checksMax;
  }

  get preparedAtMs(): number {
    return this.#half.facts.preparedAtMs;
  }

  get messages(): number {
    return this.#bodies.length;
  }

  next(): boolean {
    const body = this.#bodies[this.#at++];
    if (body === undefined) return false;
    readStored(view, body.bytes, body.start, body.end);
    view.id = this.#engine.bodies.nextId();
    return true;
  }
}

/** Show the messages of a half. Rejects with `internal-error` when they cannot be read. */
export async function showMessages(engine: Engine, half: Half, each: (message: Message) => void): Promise<void> {
  const { parts } = half.state;
  let bodies = findBodies(engine, parts);
  if (bodies === undefined) {
    try {
      bodies = await loadBodies(engine, parts);
    } catch (error) {
      throw new CoreError('internal-error', `${half.name}: ${(error as Error).message}`);
    }
  }
  const question = new Question(engine, half, bodies);
  while (question.next()) each(question.message);
}
