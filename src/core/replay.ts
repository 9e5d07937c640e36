/** Replay: the records of the log after the newest checkpoint, applied. Nothing is routed, chosen or answered here. */
import { strict as assert } from 'node:assert';
import { readU16, readU32 } from './bytes.ts';
import { delayInfo } from './delay/info.ts';
import { DelaySlot } from './delay/slot.ts';
import type { Engine } from './engine.ts';
import { HALF_RECORD_FIRST, HALF_RECORD_LAST } from './half/records.ts';
import { replayMarks } from './marks/marking.ts';
import { Message, RoutingKey } from './message.ts';
import { addStoredPolicy, removeStoredPolicy, setStoredLiveRules } from './policy/stored.ts';
import { readDeferred } from './queue/deferrals.ts';
import type { EntryLog } from './queue/entry-log.ts';
import { MOVE_HEAD_BYTES, PUBLISH_RETAIN, PUBLISH_TARGET_SET, RECORD, readBinding, unzigzag } from './records.ts';
import { storedGroupHash } from './selection/group-hash.ts';
import { addStoredExchange, addStoredLog, addStoredQueue, bindStored } from './state.ts';
import { readStored, readStoredKey, receivedAt } from './stored-message.ts';
import { TlvReader } from './tlv.ts';
import type { Partition } from './topic/partition.ts';
import { TOPIC_RECORD_FIRST, TOPIC_RECORD_LAST } from './topic/records.ts';
import type { Topology } from './topology.ts';

/** The delay of stored messages is looked at through this view. */
const view = new Message();

function storedDelayInfo(bytes: Buffer, at: number, end: number): number {
  readStored(view, bytes, at, end);
  return delayInfo(view, 0);
}

export class Replay {
  readonly #topology: Topology;
  readonly #engine: Engine;
  readonly #sets = new Map<number, readonly number[]>();
  readonly #targets: EntryLog[] = [];
  readonly #partitions: Partition[] = [];

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#engine = topology.engine;
  }

  /** One record: a `ReplayRecord` of the journal. */
  readonly apply = (type: number, bytes: Buffer, start: number, end: number, segment: number, offset: number): void => {
    switch (type) {
      case RECORD.publish:
        this.#publish(bytes, start, end, segment, offset);
        break;
      case RECORD.move: {
        const position = bytes.readDoubleLE(start + 4);
        this.#topology.entryLog(readU32(bytes, start))?.replaySettle(position, position + 1);
        this.#publish(bytes, start + MOVE_HEAD_BYTES, end, segment, offset + MOVE_HEAD_BYTES);
        break;
      }
      case RECORD.settle:
        this.#settle(new TlvReader(bytes, start, end));
        break;
      case RECORD.forgetIds:
        this.#topology.queuesById.get(readU32(bytes, start))?.marks?.dedup?.clear();
        break;
      case RECORD.spill:
      case RECORD.transaction:
        return;
      case RECORD.gap:
        this.#topology.entryLog(bytes.readUInt32LE(start))?.replayGap(bytes.readDoubleLE(start + 4));
        break;
      case RECORD.return:
        this.#return(new TlvReader(bytes, start, end));
        break;
      case RECORD.defer:
        readDeferred(new TlvReader(bytes, start, end), this.#topology);
        break;
      case RECORD.transfer:
        this.#transfer(new TlvReader(bytes, start, end));
        break;
      case RECORD.targetSet:
        this.#targetSet(bytes, start, end);
        break;
      default:
        if (type >= TOPIC_RECORD_FIRST && type <= TOPIC_RECORD_LAST)
          this.#topology.topics.replay(type, bytes, start, end, segment, offset);
        else if (type >= HALF_RECORD_FIRST && type <= HALF_RECORD_LAST)
          this.#topology.halves.replay(type, bytes, start, end, segment, offset);
        else this.#topologyChange(type, new TlvReader(bytes, start, end));
        break;
    }
  };

  #publish(bytes: Buffer, start: number, end: number, segment: number, offset: number): void {
    const count = readU16(bytes, start);
    const bits = readU16(bytes, start + 2);
    let at = start + 4;
    const retains = (bits & PUBLISH_RETAIN) !== 0;
    const exchange = retains ? this.#topology.exchangesById.get(readU32(bytes, at)) : undefined;
    if (retains) at += 4;
    const targets = this.#targets;
    targets.length = 0;
    this.#partitions.length = 0;
    if ((bits & PUBLISH_TARGET_SET) !== 0) {
      for (const id of this.#sets.get(readU32(bytes, at)) ?? []) this.#addTarget(id);
      at += 4;
    } else {
      for (let n = 0; n < count; n++, at += 4) this.#addTarget(readU32(bytes, at));
    }
    const partitions = this.#partitions;
    const refs = targets.length + partitions.length + (exchange === undefined ? 0 : 1);
    if (refs === 0) return;
    const length = end - at;
    const row = this.#engine.bodies.logged.add(
      segment,
      offset + (at - start),
      length,
      refs,
      storedGroupHash(bytes, at),
    );
    for (let n = 0; n < targets.length; n++) {
      const target = targets[n] as EntryLog;
      target.replayPush(row, length, target.kind === 'delay' ? storedDelayInfo(bytes, at, end) : 0);
    }
    for (const partition of partitions) partition.replayedBare(row, length, receivedAt(bytes, at));
    exchange?.retain(readStoredKey(bytes, at), { row, info: 0 });
    replayMarks(bytes, at, targets);
  }

  #addTarget(id: number): void {
    const log = this.#topology.entryLog(id);
    if (log !== undefined) {
      this.#targets.push(log);
      return;
    }
    // A dead letter may have gone to a topic.
    const partition = this.#topology.topics.partition(id);
    if (partition !== undefined) this.#partitions.push(partition);
  }

  #targetSet(bytes: Buffer, start: number, end: number): void {
    const ids: number[] = [];
    for (let at = start + 4; at < end; at += 4) ids.push(readU32(bytes, at));
    this.#sets.set(readU32(bytes, start), ids);
  }

  #settle(from: TlvReader): void {
    const log = this.#topology.entryLog(from.u32());
    if (log === undefined) return;
    for (let last = 0; !from.ended; ) {
      const first = last + unzigzag(from.varint());
      last = first + from.varint();
      log.replaySettle(first, last);
    }
  }

  #return(from: TlvReader): void {
    const log = this.#topology.entryLog(from.u32());
    if (log === undefined) return;
    for (let last = 0; !from.ended; ) {
      const first = last + unzigzag(from.varint());
      last = first + from.varint();
      log.replayReturn(first, last, from.varint());
    }
  }

  #transfer(from: TlvReader): void {
    const source = this.#topology.entryLog(from.u32());
    const target = this.#topology.entryLog(from.u32());
    if (source === undefined || target === undefined) return;
    for (let last = 0; !from.ended; ) {
      const first = last + unzigzag(from.varint());
      last = first + from.varint();
      source.replayTransfer(first, last, from.varint(), target);
    }
  }

  #topologyChange(type: number, from: TlvReader): void {
    const topology = this.#topology;
    switch (type) {
      case RECORD.vhostCreate:
        topology.addVhost(from.u32(), from.text());
        break;
      case RECORD.vhostDelete: {
        const vhost = topology.vhostsById.get(from.u32());
        if (vhost !== undefined) topology.removeVhost(vhost);
        return;
      }
      case RECORD.exchangeDeclare:
        addStoredExchange(topology, from);
        break;
      case RECORD.exchangeDelete: {
        const id = from.u32();
        const exchange = topology.exchangesById.get(id);
        const vhost = topology.homes.get(id);
        if (exchange !== undefined && vhost !== undefined) topology.removeExchange(vhost, exchange);
        return;
      }
      case RECORD.queueDeclare:
        addStoredQueue(topology, from);
        break;
      case RECORD.openLog:
        addStoredLog(topology, from);
        break;
      case RECORD.closeLog: {
        const log = topology.entryLog(from.u32());
        if (log instanceof DelaySlot) topology.removeSlot(log);
        return;
      }
      case RECORD.queueDelete: {
        const queue = topology.queuesById.get(from.u32());
        if (queue !== undefined) topology.removeQueue(queue.vhost, queue);
        return;
      }
      case RECORD.bind:
        bindStored(topology, from);
        break;
      case RECORD.unbind:
        this.#unbind(from);
        break;
      case RECORD.unretain: {
        const exchange = topology.exchangesById.get(from.u32());
        const separator = from.u8();
        exchange?.forget(new RoutingKey(from.text(), separator));
        return;
      }
      case RECORD.policySet:
        addStoredPolicy(topology, from);
        break;
      case RECORD.policyDelete:
        removeStoredPolicy(topology, from);
        break;
      case RECORD.liveRules:
        setStoredLiveRules(topology, from);
        break;
      case RECORD.redrive:
      case RECORD.redriveMoved:
      case RECORD.redriveEnd:
        topology.redrives.replay(type, from);
        break;
      default:
        assert.fail(`a record of type ${type} in the journal`);
    }
  }

  #unbind(from: TlvReader): void {
    const { sourceId, kind, targetId, pattern, arguments: args } = readBinding(from);
    const { exchangesById, homes } = this.#topology;
    const source = exchangesById.get(sourceId);
    const target = this.#topology.target(kind, targetId);
    if (source !== undefined && target !== undefined) homes.get(sourceId)?.router.unbind(source, target, pattern, args);
  }
}
