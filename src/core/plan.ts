/**
 * What publishing needs to know of a route: its queues split by whether they are logged. Made once a route, shared by all
 * producers, and dropped with the route when the topology changes.
 */
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import type { Route } from './exchange/router.ts';
import type { Message } from './message.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { Queue } from './queue/queue.ts';
import { INLINE_TARGETS_MAX, RECORD } from './records.ts';
import type { Tap } from './tap.ts';
import type { Topic } from './topic/topic.ts';

/** Targets of one message alone are written into its record up to here: their number must fit 16 bits. */
const INLINE_ALWAYS_MAX = 4096;

export class Plan {
  /** `Route.version`. */
  readonly version: number;
  readonly queues: readonly Queue[];
  readonly topics: readonly Topic[];
  readonly taps: readonly Tap[];
  readonly logged: readonly Queue[];
  readonly transient: readonly Queue[];
  /** Where a message comes into these, unless that depends on the message (`choosy`). */
  readonly loggedLanes: readonly EntryLog[];
  readonly transientLanes: readonly EntryLog[];
  readonly lanes: readonly EntryLog[];
  readonly choosy: boolean;
  readonly isDelayed: boolean;
  /** Queues that may refuse a message. */
  readonly guarded: readonly Queue[];
  /** Some of the queues go by marks of the message. */
  readonly marked: boolean;
  /** No queue, topic or tap takes the message. */
  readonly leadsNowhere: boolean;
  readonly #route: Route<Queue, Topic, Tap>;
  readonly #namesTargets: boolean;
  #set = 0;
  #setGeneration = -1;

  #delayed: Plan | undefined;

  /**
   * @param isDelayed for messages that are to wait: taps do not see them, and a queue that is full now may have room then
   * @param isPart leads to some of the queues of another plan
   */
  constructor(route: Route<Queue, Topic, Tap>, isDelayed = false, isPart = false) {
    this.#route = route;
    this.version = route.version;
    this.isDelayed = isDelayed;
    this.queues = route.queues;
    this.topics = route.topics;
    this.taps = isDelayed ? [] : route.taps;
    this.logged = route.queues.filter((queue) => queue.logged);
    this.transient = route.queues.filter((queue) => !queue.logged);
    this.lanes = this.queues.map(laneOf);
    this.loggedLanes = this.logged.map(laneOf);
    this.transientLanes = this.transient.map(laneOf);
    this.choosy = isDelayed || route.queues.some((queue) => queue.choosy);
    const mayRefuse = isDelayed ? [] : route.queues;
    this.guarded = mayRefuse.filter((queue) => queue.bound !== undefined && queue.rules.overflow !== 'drop-head');
    this.marked = route.queues.some((queue) => queue.marks !== undefined);
    const inlineMax = route.version < 0 ? INLINE_ALWAYS_MAX : INLINE_TARGETS_MAX;
    this.leadsNowhere = !isPart && !(this.queues.length > 0 || this.taps.length > 0 || this.topics.length > 0);
    this.#namesTargets = !this.choosy && this.logged.length > inlineMax;
  }

  /** The plan of the same route for a message that is to wait. Throws `invalid-argument`: only queues can keep one. */
  delayed(exchange: string, key: string): Plan {
    const [topic] = this.topics;
    if (topic !== undefined) {
      const where = `exchange '${exchange}', key '${key}'`;
      throw new CoreError(
        'invalid-argument',
        `a delayed message for topic '${topic.name}' (${where}): only queues delay`,
      );
    }
    this.#delayed ??= new Plan(this.#route, true);
    return this.#delayed;
  }

  /** One topic takes the message, and nobody else. */
  get isOneTopic(): boolean {
    return this.topics.length === 1 && this.queues.length + this.taps.length === 0;
  }

  /** Whether a queue has no room for a message of `length` bytes, and publishers are to know. */
  refuses(length: number): boolean {
    return this.guarded.some((queue) => queue.bound?.refuses(length));
  }

  /** The plan for one message of `length` bytes, without the queues that have no room for it. */
  withRoomFor(length: number): Plan {
    const isOpen = ({ bound }: Queue): boolean => bound === undefined || bound.handsOn || !bound.refuses(length);
    return this.#part(isOpen);
  }

  /** The plan for one message that some queues do not want. */
  without(unwilling: readonly Queue[]): Plan {
    return this.#part((queue) => !unwilling.includes(queue));
  }

  #part(takes: (queue: Queue) => boolean): Plan {
    return new Plan({ ...this.#route, version: -1, queues: this.#route.queues.filter(takes) }, this.isDelayed, true);
  }

  /** The TARGETSET that names the logged queues, written now if the log since the last checkpoint has none; 0 when they are
   *  few enough to be written into each record. */
  targetSet(engine: Engine, targets: readonly EntryLog[]): number {
    if (this.choosy) return targetSetOfOne(engine, targets);
    if (!this.#namesTargets) return 0;
    if (this.#setGeneration === engine.targetSetGeneration) return this.#set;
    const set = writeTargetSet(engine, targets);
    this.#set = set;
    this.#setGeneration = engine.targetSetGeneration;
    return set;
  }
}

/** The TARGETSET, written now, that names the targets of one message; 0 when they are few enough to be written into its record. */
export function targetSetOfOne(engine: Engine, targets: readonly { readonly id: number }[]): number {
  return targets.length > INLINE_ALWAYS_MAX ? writeTargetSet(engine, targets) : 0;
}

function writeTargetSet(engine: Engine, targets: readonly { readonly id: number }[]): number {
  const set = engine.nextTargetSet();
  const { journal } = engine;
  const at = journal.append(RECORD.targetSet, 4 + targets.length * 4);
  journal.bytes.writeUInt32LE(set, at);
  for (let n = 0; n < targets.length; n++) {
    journal.bytes.writeUInt32LE((targets[n] as { id: number }).id, at + 4 + n * 4);
  }
  engine.wrote();
  return set;
}

/** Where a message comes into queues, when that depends on the message. */
export function entryLogs(queues: readonly Queue[], message: Message): readonly EntryLog[] {
  return queues.map((queue) => queue.entryFor(message));
}

function laneOf(queue: Queue): EntryLog {
  return queue.base;
}

const plans = new WeakMap<Route<Queue, Topic, Tap>, Plan>();

/** The plan of a route. */
export function planOf(route: Route<Queue, Topic, Tap>): Plan {
  let plan = plans.get(route);
  if (plan === undefined) {
    plan = new Plan(route);
    plans.set(route, plan);
  }
  return plan;
}
