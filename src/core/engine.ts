/**
 * What queues, producers and subscriptions share: the stores, the journal, and the broker's own turn. Work is collected
 * while sockets are read and done once at the end of the turn of the event loop, or when a group commit is durable: that is
 * where batches form (DESIGN section 8). Nothing here recurses, and no turn takes much longer than `limits.sliceMs`.
 */
import { Background } from './background.ts';
import { Bodies } from './bodies.ts';
import type { Clock } from './clock.ts';
import type { Confirms } from './confirms.ts';
import { Deadlines, type Timed } from './deadlines.ts';
import { CoreError } from './errors.ts';
import { Fifo } from './fifo.ts';
import type { Journal, JournalHandlers } from './journal/journal.ts';
import type { Limits } from './limits.ts';
import type { Format, Message } from './message.ts';
import { Message as MessageView } from './message.ts';
import type { Producer } from './producer.ts';
import type { EntryLog } from './queue/entry-log.ts';
import { WindowBuffers, windowBytes } from './queue/read-ahead.ts';
import { Settlements } from './queue/settlements.ts';
import type { UnusedTimer } from './queue/unused.ts';
import type { Log } from './start.ts';
import type { TlvWriter } from './tlv.ts';
import { OpenTransactions } from './transaction/open-transactions.ts';

/** Deliveries of one queue before the next queue has its turn. */
const DELIVERIES_PER_VISIT = 256;
const VISITS_PER_TURN_MAX = 4096;
const SPARE_SETTLEMENTS_MAX = 64;

/** What has its turn when it has something to hand out. */
export interface Dispatched {
  /** In the list of those that wait for their turn. */
  awake: boolean;
  /** Hand out up to about `budget` messages. Answers true when there is more to do. */
  dispatch(budget: number): boolean;
}

/** What holds messages until their batch is durable. */
export interface AwaitsBatches {
  /** A group commit ended. Answers whether later ones are awaited. */
  becameDurable(batch: number): boolean;
}

/** What collects messages during a turn, to log them together. */
export interface Staged {
  flush(): void;
}

interface Waiter {
  readonly batch: number;
  readonly done: () => void;
}

export class Engine implements JournalHandlers {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log;
  readonly bodies: Bodies;
  readonly background: Background;
  readonly windowBuffers: WindowBuffers;
  readonly formats: (Format | undefined)[] = [];
  /** The view all deliveries are shown through: one at a time, valid until the next. */
  readonly view: Message = new MessageView();
  journal!: Journal;
  /** Bytes that queues hold in read-ahead windows. */
  readAheadBytes = 0;
  /** Journal bytes taken from publishers since the alarm in force began. */
  takenInAlarm = 0;
  /** Counts checkpoints: TARGETSET records before the newest one are not replayed, and must be written again. */
  targetSetGeneration = 0;
  /** The alarm in force. */
  blockedBy: string | undefined;
  /** Set when the journal stopped: nothing more is promised to anybody. */
  failure: Error | undefined;
  /** The broker has closed: timers that still come find nothing to do. */
  closed = false;
  onFailure: ((error: Error) => void) | undefined;

  /** When queues have something that expires, or is due. */
  readonly deadlines: Deadlines<Timed & Dispatched>;
  /** When queues may have been unused for too long: monotonic, a wall clock that jumps must not delete a queue. */
  readonly unused: Deadlines<UnusedTimer>;
  readonly openTransactions: OpenTransactions;
  readonly #ready = new Fifo<Dispatched>();
  #awaitingQueues: AwaitsBatches[] = [];
  #awaitingConfirms: Confirms[] = [];
  #confirmable: Confirms[] = [];
  #paused = new Set<Producer>();
  #settling: EntryLog[] = [];
  /** To be used again. */
  readonly #settlements: Settlements[] = [];
  #staged: Staged | undefined;
  readonly #waiters = new Fifo<Waiter>();
  #turnAsked = false;
  #targetSets = 0;
  /** Batch of the newest record. */
  #lastWritten = 0;
  #now = 0;

  constructor(clock: Clock, limits: Limits, log: Log) {
    this.clock = clock;
    this.limits = limits;
    this.log = log;
    this.bodies = new Bodies(limits);
    this.background = new Background(clock, limits.sliceMs);
    this.deadlines = new Deadlines(clock, (item) => this.wake(item));
    this.openTransactions = new OpenTransactions(limits);
    this.unused = new Deadlines(
      clock,
      (timer: UnusedTimer) => timer.look(),
      () => clock.monotonic(),
    );
    this.windowBuffers = new WindowBuffers(windowBytes(limits));
  }

  /** Take the opened journal into use. */
  attach(journal: Journal): void {
    this.journal = journal;
    this.bodies.journal = journal;
  }

  /** Wall-clock milliseconds, read once a turn. */
  now(): number {
    if (this.#now === 0) {
      this.#now = this.clock.now();
      this.askTurn();
    }
    return this.#now;
  }

  // ---- What the turn has to do ------------------------------------------------------------------------------------

  askTurn(): void {
    if (this.#turnAsked) return;
    this.#turnAsked = true;
    this.clock.soon(this.#turn);
  }

  /** A queue (or a reader of a topic) may have something to deliver. */
  wake(queue: Dispatched): void {
    if (queue.awake) return;
    queue.awake = true;
    this.#ready.push(queue);
    this.askTurn();
  }

  /** A queue (or partition) holds entries that become deliverable when the open batch is durable. */
  awaitQueue(queue: AwaitsBatches): void {
    this.#awaitingQueues.push(queue);
  }

  /** Confirms of a producer wait for batches. */
  awaitConfirms(confirms: Confirms): void {
    this.#awaitingConfirms.push(confirms);
  }

  /** A producer has confirms to give that nothing holds back. */
  confirmSoon(confirms: Confirms): void {
    this.#confirmable.push(confirms);
    this.askTurn();
  }

  /** A producer was told to pause. */
  pause(producer: Producer): void {
    this.#paused.add(producer);
  }

  forget(producer: Producer): void {
    this.#paused.delete(producer);
  }

  /** An entry log has settlements to write. Answers where they are to be collected until then. */
  settling(log: EntryLog): Settlements {
    this.#settling.push(log);
    this.askTurn();
    return this.#settlements.pop() ?? new Settlements();
  }

  /** Messages for topics wait to be logged. */
  staging(staged: Staged): void {
    this.#staged = staged;
    this.askTurn();
  }

  /** Call `done` when everything logged or collected up to now is durable; at once when it is. */
  afterDurable(done: () => void): void {
    this.flushSettlements();
    this.afterBatch(this.#lastWritten, done);
  }

  /** Call `done` when a batch is durable; at once when it is. @param batch the one with the newest record */
  afterBatch(batch: number, done: () => void): void {
    if (batch <= this.journal.durableBatch) done();
    else this.#waiters.push({ batch, done });
  }

  /** Resolves when everything logged up to now is durable. For the control plane. */
  whenDurable(): Promise<void> {
    const batch = this.#lastWritten;
    return batch <= this.journal.durableBatch ? Promise.resolve() : this.journal.whenDurable(batch);
  }

  /** The batch that makes everything logged up to now durable; 0 when it is. */
  get undurable(): number {
    return this.#lastWritten <= this.journal.durableBatch ? 0 : this.#lastWritten;
  }

  /** Batch of the newest record. */
  get lastWritten(): number {
    return this.#lastWritten;
  }

  /**
   * Write a record to the journal. Answers the batch it is in. Making room may seal the open batch, which writes what queues have
   * collected (`onSeal`) before `record` is copied: a writer that is filled then must be used for nothing else.
   */
  append(type: number, record: TlvWriter): number {
    const at = this.journal.append(type, record.length);
    record.copyTo(this.journal.bytes, at);
    return this.wrote();
  }

  /** To be called after every `journal.append`: answers the batch the record is in. */
  wrote(): number {
    this.#lastWritten = this.journal.openBatch;
    return this.#lastWritten;
  }

  /** Put what queues have collected, and what is staged, into the open batch. */
  flushSettlements(): void {
    if (this.failure !== undefined) return;
    this.flushStaged();
    if (this.#settling.length === 0) return;
    const settling = this.#settling;
    this.#settling = [];
    for (const log of settling) {
      const settlements = log.logSettlements();
      if (settlements !== undefined && this.#settlements.length < SPARE_SETTLEMENTS_MAX)
        this.#settlements.push(settlements);
    }
  }

  /** Put what is staged for topics into the open batch. */
  flushStaged(): void {
    const staged = this.#staged;
    this.#staged = undefined;
    staged?.flush();
  }

  // ---- The turn ---------------------------------------------------------------------------------------------------

  readonly #turn = (): void => {
    this.#turnAsked = false;
    this.#now = 0;
    if (this.failure !== undefined || this.closed) return;
    const confirmable = this.#confirmable;
    if (confirmable.length > 0) {
      this.#confirmable = [];
      for (const confirms of confirmable) confirms.confirmAtOnce();
    }
    this.#dispatch();
    if (this.#ready.size > 0) this.askTurn();
    // While a commit is under way, settlements wait for its end: more of them make one record then.
    if (this.#lastWritten <= this.journal.durableBatch) this.flushSettlements();
  };

  #dispatch(): void {
    const until = this.clock.monotonic() + this.limits.sliceMs;
    const ready = this.#ready;
    for (let visits = 1; ready.size > 0; visits++) {
      const queue = ready.shift() as Dispatched;
      queue.awake = false;
      if (queue.dispatch(DELIVERIES_PER_VISIT)) this.wake(queue);
      // Reading the clock costs as much as a delivery: do it now and then. The count bounds a turn on a clock that stands.
      if ((visits & 7) === 0 && (visits >= VISITS_PER_TURN_MAX || this.clock.monotonic() >= until)) break;
    }
  }

  // ---- What the journal tells -------------------------------------------------------------------------------------

  onSeal(): void {
    this.flushSettlements();
  }

  onDurable(batch: number): void {
    this.#awaitingQueues = this.#awaitingQueues.filter((queue) => queue.becameDurable(batch));
    const awaiting = this.#awaitingConfirms;
    this.#awaitingConfirms = [];
    for (const confirms of awaiting) {
      if (confirms.becameDurable(batch)) this.#awaitingConfirms.push(confirms);
    }
    for (;;) {
      const waiter = this.#waiters.first;
      if (waiter === undefined || waiter.batch > batch) break;
      this.#waiters.shift();
      waiter.done();
    }
    if (this.#settling.length > 0 || this.#staged !== undefined) this.askTurn();
  }

  onFailed(error: Error): void {
    this.failure = error;
    this.log('error', 'the journal stopped', { error: error.message });
    this.onFailure?.(error);
  }

  onRelieved(): void {
    if (this.blockedBy === undefined) this.drain();
  }

  /** A message comes in during an alarm: it was read before its publisher was told. Throws when too many were. */
  takeInAlarm(length: number): void {
    if (this.takenInAlarm + length > this.limits.unconfirmedBytesMax) {
      throw new CoreError('publishing-blocked', this.blockedBy);
    }
    this.takenInAlarm += length;
  }

  /** A number for a TARGETSET record. */
  nextTargetSet(): number {
    return ++this.#targetSets;
  }

  /** Let paused publishers go on. */
  drain(): void {
    const paused = this.#paused;
    this.#paused = new Set();
    for (const producer of paused) producer.drained();
  }
}
