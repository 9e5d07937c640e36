import assert from 'node:assert';
import type { Clock } from '../../../src/core/clock.ts';
import type { Disk } from '../../../src/core/disk.ts';
import { type BodyRef, type Journal, openJournal, type RecoveryRemedy } from '../../../src/core/journal/index.ts';
import { type Limits, limitsWith } from '../../../src/core/limits.ts';

const PUBLISH = 16;
const ACK = 17;

/** Small segments and batches, so that a few kilobytes meet every border there is. */
export const SMALL = limitsWith({
  segmentBytes: 16 * 1024,
  batchBytesMax: 2 * 1024,
  tailCacheBytesMax: 4 * 1024,
  unconfirmedBytesMax: 64 * 1024,
});

export interface MiniCoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits?: Limits;
  readonly remedy?: RecoveryRemedy;
}

/**
 * The least state machine that needs a journal: numbered messages that are published and acknowledged. Knows what was
 * appended and what is durable, so that tests can tell what a crash may take away.
 */
export class MiniCore {
  journal!: Journal;
  summary = '';
  /** Published and not acknowledged, in order: number -> body. */
  readonly live = new Map<number, BodyRef>();
  /** What was appended, with its batch. */
  readonly log: { readonly type: 'publish' | 'ack'; readonly id: number; readonly batch: number }[] = [];
  readonly durable: number[] = [];
  failed: Error | undefined;
  relieved = 0;
  seals = 0;
  /** Appended to the open batch when the journal says that it is about to be sealed. */
  readonly ackAtSeal: number[] = [];

  static async open(options: MiniCoreOptions): Promise<MiniCore> {
    const core = new MiniCore();
    const limits = options.limits ?? SMALL;
    const recovery = await openJournal({ disk: options.disk, clock: options.clock, limits, remedy: options.remedy });
    for (const checkpoint of recovery.checkpoints) await core.#loadState(checkpoint);
    await recovery.replay((type, bytes, start, end, segment, offset) => {
      const id = bytes.readUInt32LE(start);
      if (type === ACK) assert(core.live.delete(id), `ack of ${id}, which is not live`);
      else {
        assert.equal(type, PUBLISH);
        assertBody(bytes, start, end - start, id);
        core.live.set(id, { segment, offset, length: end - start });
      }
    });
    core.journal = await recovery.open({
      onSeal: () => {
        core.seals++;
        for (const id of core.ackAtSeal.splice(0)) core.ack(id);
      },
      onDurable: (batch) => core.durable.push(batch),
      onFailed: (error) => {
        core.failed = error;
      },
      onRelieved: () => {
        core.relieved++;
      },
    });
    core.summary = recovery.summary;
    return core;
  }

  publish(id: number, length: number): void {
    const { journal } = this;
    const at = journal.append(PUBLISH, length);
    writeBody(journal.bytes, at, length, id);
    this.live.set(id, { segment: journal.segment, offset: journal.offset, length });
    this.log.push({ type: 'publish', id, batch: journal.openBatch });
  }

  ack(id: number): void {
    const at = this.journal.append(ACK, 4);
    this.journal.bytes.writeUInt32LE(id, at);
    this.live.delete(id);
    this.log.push({ type: 'ack', id, batch: this.journal.openBatch });
  }

  /** All that was appended is durable. */
  settled(): Promise<void> {
    return this.journal.whenDurable(this.journal.openBatch);
  }

  /** Full checkpoints carry everything; a delta here is the whole state as well, and simply replaces the one before. */
  async checkpoint(kind: 'full' | 'delta' = 'full'): Promise<void> {
    const batch = this.journal.seal();
    const pieces = [...this.live].map(([id, ref]) => Uint32Array.of(id, ref.segment, ref.offset, ref.length));
    async function* state() {
      yield Buffer.from('state');
      for (const piece of pieces) yield new Uint8Array(piece.buffer);
    }
    await this.journal.checkpoint(batch, state(), kind);
  }

  async #loadState(state: AsyncIterable<Buffer>): Promise<void> {
    this.live.clear();
    let row = 0;
    for await (const piece of state) {
      if (row++ === 0) assert.equal(piece.toString(), 'state');
      else {
        const [id, segment, offset, length] = [0, 4, 8, 12].map((at) => piece.readUInt32LE(at));
        this.live.set(id!, { segment: segment!, offset: offset!, length: length! });
      }
    }
    assert(row > 0);
  }

  reclaim(): Promise<void> {
    const live = () => [...this.live.values()];
    return this.journal.reclaim({
      bytes: (segment) => live().reduce((sum, ref) => sum + (ref.segment === segment ? ref.length : 0), 0),
      refs: async (segments) =>
        live()
          .filter((ref) => segments.has(ref.segment))
          .sort((a, b) => a.segment - b.segment || a.offset - b.offset),
    });
  }

  /** Read all live bodies back and compare them. */
  async verify(): Promise<void> {
    const ids = [...this.live.keys()];
    const refs = [...this.live.values()];
    let next = 0;
    await this.journal.load(refs, (index, bytes, start) => {
      assert.equal(index, next++);
      assertBody(bytes, start, refs[index]!.length, ids[index]!);
    });
    assert.equal(next, refs.length);
  }
}

/** The body of a message: its number, then bytes that depend on number and place. */
export function writeBody(bytes: Buffer, at: number, length: number, id: number): void {
  assert(length >= 4);
  bytes.writeUInt32LE(id, at);
  for (let i = 4; i < length; i++) bytes[at + i] = id * 31 + i;
}

export function assertBody(bytes: Buffer, at: number, length: number, id: number): void {
  const expected = Buffer.alloc(length);
  writeBody(expected, 0, length, id);
  assert(
    bytes.compare(expected, 0, length, at, at + length) === 0,
    `the body of message ${id} is not what was published`,
  );
}

/**
 * What recovery may give back: the effects of some prefix of the log in which all durable batches are. Answers the length of that
 * prefix; throws when there is none.
 */
export function survivingPrefix(before: MiniCore, durableBatch: number, after: MiniCore): number {
  const firstUnsure = before.log.findIndex((entry) => entry.batch > durableBatch);
  const least = firstUnsure === -1 ? before.log.length : firstUnsure;
  const found = [...after.live.keys()].join();
  const live = new Set<number>();
  for (let length = 0; length <= before.log.length; length++) {
    if (length >= least && [...live].join() === found) return length;
    const entry = before.log[length];
    if (entry?.type === 'publish') live.add(entry.id);
    else if (entry !== undefined) live.delete(entry.id);
  }
  throw new assert.AssertionError({
    message: `recovered ${found}, which is no state after the first ${least} records or more`,
  });
}
