/**
 * All half messages of the broker (docs/half-messages.md): messages that are stored and that nobody sees until their producer
 * says what became of them. Live changes with their records, replay, checkpoints. Asking producers is `Checks`' business.
 */
import { strict as assert } from 'node:assert';
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { Fifo } from '../fifo.ts';
import type { Message } from '../message.ts';
import { groupHash, storedGroupHash } from '../selection/group-hash.ts';
import type { Template } from '../stored-message.ts';
import { TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import { findBodies, loadBodies, type StoredBody } from './bodies.ts';
import { Checks } from './checks.ts';
import { commitHalf, type RecordPlace, replayCommit } from './commit.ts';
import type { HalfOp, HalfSettings } from './door.ts';
import { type Ended, Half, type HalfPart } from './half.ts';
import type { ProducerGroup } from './producer-group.ts';
import { ProducerGroups } from './producer-groups.ts';
import {
  HALF_RECORD,
  type PreparedLength,
  readHalf,
  readLengths,
  type StoredFinish,
  type StoredHalf,
  writeCallback,
  writeHalf,
  writeLengths,
} from './records.ts';
import { checkName, checkSchedule } from './settings.ts';

const record = new TlvWriter();
const NO_PARTS: readonly HalfPart[] = [];

/** A message as a producer hands it over. */
export interface Prepared {
  readonly template: Template;
  readonly message: Message;
  readonly mandatory: boolean;
}

export class Halves {
  readonly checks: Checks;
  readonly groups: ProducerGroups;
  readonly #topology: Topology;
  readonly #engine: Engine;
  /** By number. */
  readonly #open = new Map<number, Half>();
  /** Those that ended, the oldest first: forgotten when there are too many. */
  #finished = new Fifo<Half>();
  #lastNumber = 0;

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#engine = topology.engine;
    this.groups = new ProducerGroups(topology.engine.limits);
    this.checks = new Checks(topology.engine, (half) => this.#checked(half));
  }

  // ---- Live changes -----------------------------------------------------------------------------------------------

  /** Keep messages out of sight, in a new half or with those of one that is open. Answers the batch that makes it durable.
   *  Throws `invalid-argument`, `limit-exceeded`, `precondition-failed` (the half has ended). */
  prepare(vhost: Vhost, messages: readonly Prepared[], settings: HalfSettings): number {
    const known = this.groups.get(vhost, settings.group)?.halves.get(settings.id);
    checkSchedule(settings);
    if (known === undefined) {
      checkName(settings.id, 'the id of a half message', this.#engine.limits);
    } else if (known.outcome !== undefined || known.committing !== undefined) {
      throw new CoreError('precondition-failed', `${known.name} ${stateOf(known)}: nothing can be added to it`);
    }
    const lengths = messages.map(({ template, message, mandatory }) => {
      return { length: template.lengthOf(message), mandatory, partition: message.partition };
    });
    const bytes = lengths.reduce((sum, { length }) => sum + length, 0);
    this.#checkRoom(known, messages.length, bytes);
    const half = known ?? this.#newHalf(vhost, settings);
    const batch = this.#writePrepare(half, known === undefined, messages, lengths, bytes);
    if (known === undefined) {
      this.#add(half);
      this.checks.plan(half);
    }
    return batch;
  }

  #newHalf(vhost: Vhost, settings: HalfSettings): Half {
    const { limits } = this.#engine;
    const { group, id, firstCheckMs, checkEveryMs = limits.halfCheckEveryMs, checksMax = limits.halfChecks } = settings;
    const preparedAtMs = this.#engine.now();
    const facts = { number: ++this.#lastNumber, id, preparedAtMs, checkEveryMs, checksMax };
    const nextCheckMs = preparedAtMs + (firstCheckMs ?? limits.halfFirstCheckMs);
    return new Half(this.groups.open(vhost, group), facts, NO_PARTS, nextCheckMs);
  }

  #checkRoom(known: Half | undefined, messages: number, bytes: number): void {
    const { halvesMax, halfMessagesMax, halfBytesMax } = this.#engine.limits;
    if (known === undefined && this.#open.size >= halvesMax) {
      throw new CoreError('limit-exceeded', `${halvesMax} half messages are open`);
    }
    if (messages + (known?.state.parts.length ?? 0) > halfMessagesMax) {
      throw new CoreError('limit-exceeded', `a half message has at most ${halfMessagesMax} messages`);
    }
    if (bytes + (known?.bytes ?? 0) > halfBytesMax) {
      throw new CoreError('limit-exceeded', `the messages of a half have at most ${halfBytesMax} bytes`);
    }
  }

  #writePrepare(
    half: Half,
    isNew: boolean,
    messages: readonly Prepared[],
    lengths: readonly PreparedLength[],
    bytes: number,
  ): number {
    const engine = this.#engine;
    const { journal, bodies } = engine;
    record.reset().flag(isNew);
    if (isNew) writeHalf(record, half.state);
    else record.f64(half.facts.number);
    writeLengths(record, lengths);
    let at = journal.append(HALF_RECORD.prepare, record.length + bytes);
    record.copyTo(journal.bytes, at);
    at += record.length;
    let offset = journal.offset + record.length;
    const parts = [...half.state.parts];
    for (const [n, { template, message }] of messages.entries()) {
      const { length, mandatory, partition } = lengths[n] as PreparedLength;
      template.write(message, engine.now(), journal.bytes, at);
      const row = bodies.logged.add(journal.segment, offset, length, 1, groupHash(message));
      parts.push({ row, mandatory, partition });
      at += length;
      offset += length;
    }
    half.state = { ...half.state, parts };
    return engine.wrote();
  }

  setCallback(group: ProducerGroup, address: string | undefined): void {
    writeCallback(record.reset(), group.vhost.id, group.name, address ?? '');
    this.#engine.append(HALF_RECORD.callback, record);
    group.callback = address;
    this.groups.tidy(group);
  }

  /**
   * The half that a request to end it is about; undefined when it has ended that way already. Throws `not-found` (also for one of
   * another group), `precondition-failed` (it ended the other way, or is about to).
   */
  ending(vhost: Vhost, group: string, id: string, op: HalfOp): Half | undefined {
    const half = this.groups.get(vhost, group)?.halves.get(id);
    if (half === undefined) {
      const where = `in virtual host '${vhost.name}': it never was, or ended long ago`;
      throw new CoreError('not-found', `half message '${id}' of producer group '${group}' ${where}`);
    }
    if (half.outcome === op) return undefined;
    if (half.outcome !== undefined || (op === 'rollback' && half.committing !== undefined)) {
      throw new CoreError('precondition-failed', `${half.name} ${stateOf(half)}`);
    }
    return half;
  }

  /** End a half that `ending` has answered. `ended` is called at once, or when its messages were read from disk. */
  end(half: Half, op: HalfOp, ended: Ended): void {
    if (op === 'commit') {
      this.#commit(half, ended);
      return;
    }
    record.reset().f64(half.facts.number);
    this.#engine.append(HALF_RECORD.rollback, record);
    this.#release(half);
    this.#finish(half, op);
    ended(undefined);
  }

  #commit(half: Half, ended: Ended): void {
    if (half.committing !== undefined) {
      half.committing.push(ended);
      return;
    }
    half.committing = [ended];
    const bodies = findBodies(this.#engine, half.state.parts);
    if (bodies !== undefined) {
      this.#committing(half, bodies);
      return;
    }
    loadBodies(this.#engine, half.state.parts).then(
      (loaded) => this.#committing(half, loaded),
      (error: Error) => this.#committed(half, new CoreError('internal-error', `${half.name}: ${error.message}`)),
    );
  }

  #committing(half: Half, bodies: readonly StoredBody[]): void {
    if (this.#ended) return;
    // It may have gone with its virtual host while it was read.
    if (half.outcome !== undefined) {
      this.#committed(half, new CoreError('not-found', half.name));
      return;
    }
    try {
      commitHalf(half, bodies);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#committed(half, error);
      return;
    }
    this.#finish(half, 'commit');
    this.#committed(half, undefined);
  }

  #committed(half: Half, error: CoreError | undefined): void {
    if (this.#ended) return;
    const waiting = half.committing ?? [];
    half.committing = undefined;
    for (const ended of waiting) ended(error);
  }

  /** Nothing is promised to anybody any more. */
  get #ended(): boolean {
    return this.#engine.failure !== undefined || this.#engine.closed;
  }

  /** Its producers are about to be asked once more, or for the last time: then it is parked. */
  #checked(half: Half): void {
    const { state, facts, group } = half;
    const parks = state.checks >= facts.checksMax;
    const nextCheckMs = parks ? Number.POSITIVE_INFINITY : this.#engine.now() + facts.checkEveryMs;
    half.state = { ...state, checks: state.checks + (parks ? 0 : 1), nextCheckMs };
    record.reset().f64(facts.number).varint(half.state.checks).f64(nextCheckMs);
    this.#engine.append(HALF_RECORD.checked, record);
    if (!parks || group.parked++ > 0) return;
    const about = { vhost: group.vhost.name, group: group.name, id: facts.id, asked: facts.checksMax };
    this.#engine.log('warn', 'a half message is parked: nobody said what became of it', about);
  }

  // ---- Changes themselves, live and in replay ---------------------------------------------------------------------

  #add(half: Half): void {
    const { group, facts } = half;
    this.#lastNumber = Math.max(this.#lastNumber, facts.number);
    this.#open.set(facts.number, half);
    group.halves.set(facts.id, half);
    group.open++;
    if (half.parked) group.parked++;
  }

  #release(half: Half): void {
    for (const { row } of half.state.parts) this.#engine.bodies.release(row, 0);
  }

  /** It has ended, and its bodies were given away or up. */
  #finish(half: Half, outcome: HalfOp): void {
    this.#close(half, outcome);
    this.#remember(half);
  }

  #close(half: Half, outcome: HalfOp): void {
    const { group, facts, state } = half;
    this.checks.forget(half);
    this.#open.delete(facts.number);
    group.open--;
    if (half.parked) group.parked--;
    half.outcome = outcome;
    half.state = { ...state, parts: NO_PARTS };
  }

  #remember(half: Half): void {
    this.#finished.push(half);
    while (this.#finished.size > this.#engine.limits.halvesRememberedMax) {
      const { group, facts } = this.#finished.shift() as Half;
      group.halves.delete(facts.id);
      this.groups.tidy(group);
    }
  }

  /** A virtual host is gone, with everything in it. */
  removeVhost(vhost: Vhost): void {
    for (const half of this.#open.values()) {
      if (half.group.vhost !== vhost) continue;
      this.#release(half);
      this.#close(half, 'rollback');
    }
    const finished = this.#finished;
    this.#finished = new Fifo();
    for (const half of finished.toArray()) if (half.group.vhost !== vhost) this.#finished.push(half);
    this.groups.removeVhost(vhost);
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** One record of types 36 to 41. */
  replay(type: number, bytes: Buffer, start: number, end: number, segment: number, offset: number): void {
    const from = new TlvReader(bytes, start, end);
    if (type === HALF_RECORD.prepare) {
      this.#replayPrepare(from, bytes, end, segment, offset + end - start);
    } else if (type === HALF_RECORD.callback) {
      this.loadCallback(from);
    } else {
      const half = this.#open.get(from.f64());
      if (half !== undefined) this.#replayChange(type, half, from, { bytes, start, end, segment, offset });
    }
  }

  /** @param from the fields; the messages end where the record does: at `bytesEnd`, and at `offsetEnd` of the segment */
  #replayPrepare(from: TlvReader, bytes: Buffer, bytesEnd: number, segment: number, offsetEnd: number): void {
    const isNew = from.flag();
    const half = isNew ? this.#stored(readHalf(from)) : this.#open.get(from.f64());
    if (half === undefined) return;
    const lengths = readLengths(from);
    let offset = offsetEnd - lengths.reduce((sum, { length }) => sum + length, 0);
    const parts = [...half.state.parts];
    for (const { length, mandatory, partition } of lengths) {
      const group = storedGroupHash(bytes, bytesEnd - (offsetEnd - offset));
      const row = this.#engine.bodies.logged.add(segment, offset, length, 1, group);
      parts.push({ row, mandatory, partition });
      offset += length;
    }
    half.state = { ...half.state, parts };
    if (isNew) this.#add(half);
  }

  #replayChange(type: number, half: Half, from: TlvReader, place: RecordPlace): void {
    switch (type) {
      case HALF_RECORD.commit:
        replayCommit(half, from, place);
        this.#finish(half, 'commit');
        return;
      case HALF_RECORD.rollback:
        this.#release(half);
        this.#finish(half, 'rollback');
        return;
      case HALF_RECORD.checked:
        half.state = { ...half.state, checks: from.varint(), nextCheckMs: from.f64() };
        if (half.parked) half.group.parked++;
        return;
      default:
        assert.fail(`a record of type ${type} in the journal`);
    }
  }

  #stored({ vhostId, group, facts, checks, nextCheckMs }: StoredHalf): Half | undefined {
    const vhost = this.#topology.vhostsById.get(vhostId);
    return vhost && new Half(this.groups.add(vhost, group), facts, NO_PARTS, nextCheckMs, checks);
  }

  /** The broker is open. */
  start(): void {
    for (const half of this.#open.values()) this.checks.resume(half);
  }

  // ---- Checkpoints ------------------------------------------------------------------------------------------------

  get lastNumber(): number {
    return this.#lastNumber;
  }

  open(): IterableIterator<Half> {
    return this.#open.values();
  }

  /** Those that ended and are remembered, the oldest first. */
  finished(): Half[] {
    return this.#finished.toArray();
  }

  loadNumber(lastNumber: number): void {
    this.#lastNumber = lastNumber;
  }

  loadHalf(stored: StoredHalf, parts: readonly HalfPart[]): void {
    const half = this.#stored(stored);
    if (half === undefined) return;
    half.state = { ...half.state, parts };
    this.#add(half);
  }

  loadFinished({ vhostId, group, id, outcome }: StoredFinish): void {
    const vhost = this.#topology.vhostsById.get(vhostId);
    if (vhost === undefined) return;
    const facts = { number: 0, id, preparedAtMs: 0, checkEveryMs: 0, checksMax: 0 };
    const half = new Half(this.groups.add(vhost, group), facts, NO_PARTS, 0);
    half.outcome = outcome;
    half.group.halves.set(id, half);
    this.#remember(half);
  }

  loadCallback(from: TlvReader): void {
    const vhost = this.#topology.vhostsById.get(from.u32());
    const name = from.text();
    const address = from.text();
    if (vhost === undefined) return;
    const group = this.groups.add(vhost, name);
    group.callback = address === '' ? undefined : address;
    this.groups.tidy(group);
  }
}

function stateOf({ outcome, committing }: Half): string {
  if (committing !== undefined) return 'is being committed';
  return outcome === 'commit' ? 'was committed' : 'was rolled back';
}
