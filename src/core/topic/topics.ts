/** All topics of the broker: live changes with their records, replay, checkpoints, and the background work. */
import { strict as assert } from 'node:assert';
import { readU16, readU32 } from '../bytes.ts';
import type { Timer } from '../clock.ts';
import type { Disk } from '../disk.ts';
import type { TopicSettings } from '../door.ts';
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { receivedAt } from '../stored-message.ts';
import { TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { Binding, Vhost } from '../vhost.ts';
import { Batches } from './batches.ts';
import type { Block } from './block.ts';
import { Compactor } from './compactor.ts';
import { Frames } from './frames.ts';
import { Groups } from './groups.ts';
import { Origins } from './origins.ts';
import { Partition } from './partition.ts';
import {
  readFile,
  readShape,
  readTopic,
  type StoredPartition,
  type StoredTopic,
  TOPIC_RECORD,
  writeFile,
  writeShape,
  writeTopic,
} from './records.ts';
import { Runs } from './runs.ts';
import { pathOf, type SealedFile, TOPIC_FOLDER } from './sealed-file.ts';
import { SealedStore } from './sealed-store.ts';
import { retainedFrom, Sealer } from './sealer.ts';
import { ShareGroups } from './share/groups.ts';
import { ORIGIN_BIT, ORIGIN_BYTES, RUN_HEADER_BYTES, Stage } from './stage.ts';
import { Topic } from './topic.ts';
import { unsealedBlock } from './unsealed.ts';

/** Blocks read ahead of each reader. */
const PREFETCH_BLOCKS = 2;

const record = new TlvWriter();

export class Topics {
  readonly groups: Groups;
  readonly origins: Origins;
  readonly stage: Stage;
  readonly batches: Batches;
  readonly shares: ShareGroups;
  readonly #topology: Topology;
  readonly #engine: Engine;
  readonly #topics = new Map<number, Topic>();
  readonly #partitions = new Map<number, Partition>();
  #disk!: Disk;
  #store!: SealedStore;
  #sealer: Sealer | undefined;
  #compactor: Compactor | undefined;
  #sweep: Timer | undefined;
  /** Files on their way out. */
  #removing: Promise<void> = Promise.resolve();

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#engine = topology.engine;
    this.groups = new Groups(topology.vhostsById);
    this.origins = new Origins(topology);
    this.stage = new Stage(topology.engine);
    this.batches = new Batches(topology.engine);
    this.shares = new ShareGroups(this);
  }

  /** A number for a new object. */
  nextId(): number {
    return this.#topology.nextId();
  }

  /** This number is taken: replay. */
  used(id: number): void {
    this.#topology.used(id);
  }

  // ---- Live changes -----------------------------------------------------------------------------------------------

  declare(vhost: Vhost, name: string, settings: TopicSettings): Topic {
    const id = this.#topology.nextId();
    const partitionIds = Array.from({ length: settings.partitions }, () => this.#topology.nextId());
    writeTopic(record.reset(), { id, vhostId: vhost.id, name, settings, partitionIds });
    this.#engine.append(TOPIC_RECORD.declare, record);
    return this.#add(vhost, id, name, settings, partitionIds);
  }

  /** Other settings, and as many partitions as they say, not fewer than there are. */
  alter(topic: Topic, settings: TopicSettings): void {
    const more = settings.partitions - topic.partitions.length;
    assert(more >= 0, 'partitions are never taken away');
    const ids = topic.partitions.map((partition) => partition.id);
    for (let n = 0; n < more; n++) ids.push(this.#topology.nextId());
    writeShape(record.reset().u32(topic.id), settings, ids);
    this.#engine.append(TOPIC_RECORD.alter, record);
    this.#alter(topic, settings, ids);
    this.shares.grown(topic);
    for (const partition of topic.partitions) this.#retain(partition);
  }

  /** Answers the bindings that went with it. */
  delete(topic: Topic): Binding[] {
    record.reset().u32(topic.id);
    this.#engine.append(TOPIC_RECORD.delete, record);
    const paths = topic.partitions.flatMap((partition) => pathsOf(partition, partition.files));
    const gone = this.remove(topic);
    this.#removeLater(paths);
    return gone;
  }

  /** Remove what is before `start`, which is durable. */
  moveStart(partition: Partition, start: number): void {
    if (start <= partition.start) return;
    record.reset().u32(partition.id).f64(start);
    this.#engine.append(TOPIC_RECORD.start, record);
    const gone = partition.applyStart(start);
    void this.#engine.background.run(partition.dropSealed());
    this.#removeLater(pathsOf(partition, gone));
  }

  // ---- Changes themselves, live and in replay ---------------------------------------------------------------------

  #add(
    vhost: Vhost,
    id: number,
    name: string,
    settings: TopicSettings,
    partitionIds: readonly number[],
    stored?: readonly StoredPartition[],
  ): Topic {
    const topic = new Topic(vhost, id, name, settings);
    topic.partitions = partitionIds.map((one, n) => this.#addPartition(topic, one, n, stored?.[n]));
    this.#topics.set(id, topic);
    vhost.topics.set(name, topic);
    this.#topology.used(Math.max(id, ...partitionIds));
    vhost.router.changed();
    return topic;
  }

  #addPartition(topic: Topic, id: number, number: number, stored?: StoredPartition): Partition {
    const { rings } = this.#engine.bodies.loggedIndex;
    const ring = stored === undefined ? rings.create() : rings.open(stored.row);
    const observer = { sealable: (partition: Partition) => this.#sealer?.sealable(partition) };
    const partition = new Partition(this.#engine, topic, id, number, new Runs(this.#engine.bodies, ring), observer);
    for (const file of stored?.files ?? []) partition.applySealed(file);
    if (stored !== undefined) {
      partition.applyStart(stored.start);
      partition.cleanEnd = stored.cleanEnd;
    }
    this.#partitions.set(id, partition);
    return partition;
  }

  #alter(topic: Topic, settings: TopicSettings, ids: readonly number[]): void {
    const more = ids.slice(topic.partitions.length);
    const first = topic.partitions.length;
    topic.partitions = [...topic.partitions, ...more.map((id, n) => this.#addPartition(topic, id, first + n))];
    topic.settings = settings;
    this.#topology.used(Math.max(0, ...ids));
    this.groups.topicChanged(topic);
  }

  /** Take a topic out, without a record. Answers the bindings that went with it. */
  remove(topic: Topic): Binding[] {
    topic.deleted = true;
    this.#topics.delete(topic.id);
    topic.vhost.topics.delete(topic.name);
    const gone = topic.vhost.router.unbindAll(topic);
    topic.vhost.router.changed();
    for (const partition of topic.partitions) {
      this.#partitions.delete(partition.id);
      partition.destroy();
    }
    this.groups.topicChanged(topic);
    this.shares.topicDeleted(topic);
    return gone;
  }

  all(): IterableIterator<Topic> {
    return this.#topics.values();
  }

  topic(id: number): Topic | undefined {
    return this.#topics.get(id);
  }

  partition(id: number): Partition | undefined {
    return this.#partitions.get(id);
  }

  /** Take in a topic as a checkpoint held it. */
  load(topic: StoredTopic, partitions: readonly StoredPartition[]): void {
    const { id, vhostId, name, settings, partitionIds } = topic;
    const vhost = this.#topology.vhostsById.get(vhostId);
    if (vhost === undefined) throw new CoreError('journal-corrupt', `checkpoint: topic '${name}' is nowhere`);
    const added = this.#add(vhost, id, name, settings, partitionIds, partitions);
    for (const [n, partition] of added.partitions.entries()) {
      const { end, progress } = partitions[n] as StoredPartition;
      partition.adopt(end, progress);
    }
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** One record of types 64 to 95. */
  replay(type: number, bytes: Buffer, start: number, end: number, segment: number, offset: number): void {
    if (type === TOPIC_RECORD.append) {
      this.#replayAppend(bytes, start, end, segment, offset);
      return;
    }
    const from = new TlvReader(bytes, start, end);
    switch (type) {
      case TOPIC_RECORD.declare: {
        const { id, vhostId, name, settings, partitionIds } = readTopic(from);
        const vhost = this.#topology.vhostsById.get(vhostId);
        if (vhost !== undefined) this.#add(vhost, id, name, settings, partitionIds);
        return;
      }
      case TOPIC_RECORD.delete: {
        const topic = this.#topics.get(from.u32());
        if (topic !== undefined) this.remove(topic);
        return;
      }
      case TOPIC_RECORD.alter: {
        const topic = this.#topics.get(from.u32());
        const { settings, partitionIds } = readShape(from);
        if (topic !== undefined) this.#alter(topic, settings, partitionIds);
        return;
      }
      case TOPIC_RECORD.sealed: {
        const partition = this.#partitions.get(from.u32());
        partition?.applySealed(readFile(from));
        for (const _ of partition?.dropSealed() ?? []);
        return;
      }
      case TOPIC_RECORD.start: {
        const partition = this.#partitions.get(from.u32());
        partition?.applyStart(from.f64());
        for (const _ of partition?.dropSealed() ?? []);
        return;
      }
      case TOPIC_RECORD.compacted: {
        const partition = this.#partitions.get(from.u32());
        const [cleanEnd, count] = [from.f64(), from.varint()];
        const files = Array.from({ length: from.varint() }, () => readFile(from));
        partition?.applyCompacted(count, files, cleanEnd);
        return;
      }
      case TOPIC_RECORD.commit:
      case TOPIC_RECORD.groupDelete:
        this.groups.replay(type, from);
        return;
      case TOPIC_RECORD.shareOpen:
      case TOPIC_RECORD.shareSettle:
      case TOPIC_RECORD.shareDelete:
      case TOPIC_RECORD.shareRule:
        this.shares.replay(type, from);
        return;
      case TOPIC_RECORD.origin:
      case TOPIC_RECORD.originDelete:
        this.origins.replay(type, from);
        return;
      default:
        assert.fail(`a record of type ${type} in the journal`);
    }
  }

  #replayAppend(bytes: Buffer, start: number, end: number, segment: number, offset: number): void {
    const partition = this.#partitions.get(readU32(bytes, start));
    if (partition === undefined) return;
    const count = readU16(bytes, start + 4);
    const isOfOrigin = (readU16(bytes, start + 6) & ORIGIN_BIT) !== 0;
    const header = RUN_HEADER_BYTES + (isOfOrigin ? ORIGIN_BYTES : 0);
    if (isOfOrigin) {
      const from = start + RUN_HEADER_BYTES;
      const origin = { id: readU32(bytes, from), epoch: readU32(bytes, from + 4) };
      this.#topology.used(origin.id);
      partition.sequences.note(origin, bytes.readDoubleLE(from + 8), count, partition.end);
    }
    const length = end - start - header;
    const row = this.#engine.bodies.logged.add(segment, offset + header, length, 1, count);
    partition.replayed(row, length, count, bytes.readDoubleLE(start + 8));
  }

  // ---- Files ------------------------------------------------------------------------------------------------------

  /** Replay is over: see that the files that count are there. Rejects with `journal-corrupt`. Changes nothing. */
  async check(disk: Disk): Promise<void> {
    this.#disk = disk;
    this.#store = new SealedStore(disk, this.#engine.limits);
    if (this.#partitions.size === 0) return;
    const names = new Set((await disk.list(TOPIC_FOLDER)).map((name) => `${TOPIC_FOLDER}/${name}`));
    for (const partition of this.#partitions.values()) {
      const { files } = partition;
      const missing = pathsOf(partition, files).find((path) => !names.has(path));
      if (missing !== undefined) throw new CoreError('journal-corrupt', `${missing}: the file is missing`);
      const last = files.at(-1);
      if (last !== undefined) await checkSize(disk, pathOf(partition.id, last), last.bytes);
    }
  }

  /** The journal is open: remove what a crash has left over, seal and retain from now on. */
  async start(): Promise<void> {
    const known = new Set([...this.#partitions.values()].flatMap((partition) => pathsOf(partition, partition.files)));
    for (const name of await this.#disk.list(TOPIC_FOLDER)) {
      const path = `${TOPIC_FOLDER}/${name}`;
      if (name.endsWith('.seg') && !known.has(path)) await this.#disk.remove(path);
    }
    this.shares.recovered();
    this.#sealer = new Sealer(this.#engine, this.#disk, {
      sealed: (partition, file, blocks) => {
        this.#sealed(partition, file);
        this.#store.sealed(partition, file, blocks);
      },
      retain: (partition) => this.#retain(partition),
    });
    this.#compactor = new Compactor(this.#engine, this.#disk, {
      block: (partition, offset) => this.block(partition, offset),
      cursor: (partition) => this.batches.cursor(partition),
      compacted: (partition, replaced, files, cleanEnd) => this.#compacted(partition, replaced, files, cleanEnd),
    });
    const { topicSealBytes } = this.#engine.limits;
    for (const partition of this.#partitions.values()) {
      if (partition.runs.bytes >= topicSealBytes) this.#sealer.sealable(partition);
    }
    this.#planSweep();
  }

  /** Resolves when nothing waits to be sealed or compacted. */
  async sealed(): Promise<void> {
    await this.#sealer?.idle();
    await this.#compactor?.idle();
  }

  async close(): Promise<void> {
    this.#sweep?.cancel();
    await this.#sealer?.stop();
    await this.#compactor?.stop();
    await this.#removing;
    await this.#store.close();
  }

  #sealed(partition: Partition, file: SealedFile): void {
    record.reset().u32(partition.id);
    writeFile(record, file);
    this.#engine.append(TOPIC_RECORD.sealed, record);
    partition.applySealed(file);
  }

  #compacted(
    partition: Partition,
    replaced: readonly SealedFile[],
    files: readonly SealedFile[],
    cleanEnd: number,
  ): void {
    record.reset().u32(partition.id).f64(cleanEnd).varint(replaced.length).varint(files.length);
    for (const file of files) writeFile(record, file);
    this.#engine.append(TOPIC_RECORD.compacted, record);
    this.#removeLater(pathsOf(partition, partition.applyCompacted(replaced.length, files, cleanEnd)));
  }

  #planSweep(): void {
    this.#sweep = this.#engine.clock.after(this.#engine.limits.topicSweepMs, () => {
      this.sweep();
      this.#planSweep();
    });
  }

  /** Apply retention by time everywhere. */
  sweep(): void {
    if (this.#engine.failure !== undefined) return;
    const now = this.#engine.clock.now();
    for (const partition of this.#partitions.values()) {
      const { retentionMs } = partition.topic.settings;
      this.#compactor?.consider(partition);
      if (retentionMs === undefined) continue;
      this.#retain(partition);
      // Only files are removed: what stays in the journal for want of company gets a file of its own.
      const { runs, sealedEnd, durableEnd } = partition;
      const oldest = Math.max(runs.start, sealedEnd);
      const isOld = oldest < durableEnd && runs.newestMs(runs.find(oldest)) < now - retentionMs;
      if (isOld) this.#sealer?.sealable(partition);
    }
  }

  #retain(partition: Partition): void {
    this.#compactor?.consider(partition);
    this.moveStart(partition, retainedFrom(partition, this.#engine.clock.now()));
  }

  #removeLater(paths: readonly string[]): void {
    if (paths.length === 0) return;
    this.#engine.afterDurable(() => {
      this.#removing = this.#removing.then(() => this.#removeAll(paths));
    });
  }

  async #removeAll(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      this.#store.retire(path);
      try {
        await this.#disk.remove(path);
      } catch (error) {
        // The next start tries again: the journal does not know it any more.
        this.#engine.log('warn', 'a file of a topic cannot be removed', { path, error: (error as Error).message });
      }
    }
  }

  // ---- Reading ----------------------------------------------------------------------------------------------------

  /** The block with `offset`, held for the caller, which is from `start` to `durableEnd`, or the first message after it. */
  async block(partition: Partition, offset: number): Promise<Block> {
    const file = offset < partition.sealedEnd ? partition.fileOf(offset) : undefined;
    try {
      const block = await (file === undefined
        ? unsealedBlock(partition, offset)
        : this.#store.block(partition, file, offset));
      if (block.end > offset || offset < partition.start || offset >= partition.sealedEnd) return block;
      block.leave();
    } catch (error) {
      if (offset >= partition.sealedEnd || partition.fileOf(offset) === file) throw error;
    }
    // It was sealed or compacted on the way there.
    return this.block(partition, offset);
  }

  /** Somebody will ask for the blocks from `offset` on soon. @param count how many */
  prefetch(partition: Partition, offset: number, count = PREFETCH_BLOCKS): void {
    if (offset >= partition.sealedEnd || partition.deleted) return;
    this.block(partition, offset).then(
      (block) => {
        block.leave();
        if (count > 1) this.prefetch(partition, block.end, count - 1);
      },
      // Who asks for it will be told.
      () => {},
    );
  }

  /** The first offset whose message is not older than `timeMs`, exactly; `durableEnd` when all are older. */
  async offsetAt(partition: Partition, timeMs: number): Promise<number> {
    const file = partition.files.find((one) => one.newestMs >= timeMs);
    let offset = Math.max(partition.runs.since(timeMs), partition.sealedEnd);
    if (file !== undefined) offset = await this.#store.offsetAt(partition, file, timeMs);
    offset = Math.max(offset, partition.start);
    // The indexes are coarse: what they lead to is at most a second and a block too early.
    while (offset < partition.durableEnd) {
      const block = await this.block(partition, offset);
      // The messages of a batch were taken together: it need not be taken apart.
      const frames = new Frames();
      for (block.show(frames, offset); !frames.ended; frames.advance()) {
        if (receivedAt(frames.bytes, frames.start) >= timeMs) break;
      }
      const isFound = !frames.ended;
      block.leave();
      if (isFound) return Math.max(frames.offset, offset);
      if (block.end <= offset) break;
      offset = block.end;
    }
    return Math.max(offset, partition.start);
  }
}

function pathsOf(partition: Partition, files: readonly SealedFile[]): string[] {
  return files.map((file) => pathOf(partition.id, file));
}

async function checkSize(disk: Disk, path: string, bytes: number): Promise<void> {
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    if (size < bytes) throw new CoreError('journal-corrupt', `${path}: it has ${size} bytes instead of ${bytes}`);
  } finally {
    await file.close();
  }
}
