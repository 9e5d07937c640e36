/**
 * The surviving state in words, one line a thing, in an order that depends on nothing else: tests compare it before and
 * after a restart. Row numbers are left out, as they depend on history.
 */
import { TRANSIENT_BODY } from '../core/bodies.ts';
import type { Engine } from '../core/engine.ts';
import { bindingIdentity } from '../core/exchange/pattern.ts';
import type { Half } from '../core/half/half.ts';
import type { Queue } from '../core/queue/queue.ts';
import type { StoredGroup } from '../core/topic/records.ts';
import type { Topic } from '../core/topic/topic.ts';
import type { Topology } from '../core/topology.ts';
import { survives, type Vhost } from '../core/vhost.ts';

export function dump(topology: Topology): string[] {
  const lines: string[] = [];
  for (const vhost of [...topology.vhosts.values()].sort((a, b) => a.id - b.id)) dumpVhost(vhost, lines);
  const groups = topology.topics.groups.moment();
  for (const group of groups.sort((a, b) => (a.name < b.name ? -1 : 1))) dumpGroup(group, lines);
  for (const half of topology.halves.open()) dumpHalf(half, lines);
  return lines;
}

function dumpHalf({ group, facts, state }: Half, lines: string[]): void {
  const { vhost, name } = group;
  lines.push(`half ${vhost.id} ${name} ${JSON.stringify(facts)} ${state.checks} ${state.nextCheckMs}`);
  for (const { row, mandatory, partition } of state.parts) {
    lines.push(`  ${mandatory} ${partition} ${bodyText(vhost.engine, row)}`);
  }
}

function dumpVhost(vhost: Vhost, lines: string[]): void {
  lines.push(`vhost ${vhost.id} ${vhost.name}`);
  for (const { name, isOperator, pattern, priority, definition } of vhost.policies.all()) {
    lines.push(`policy ${name} ${isOperator} ${pattern.text} ${priority} ${tableText(definition)}`);
  }
  for (const exchange of [...vhost.router.exchanges()].sort((a, b) => a.id - b.id)) {
    if (!exchange.logged) continue;
    lines.push(`exchange ${exchange.id} ${exchange.name} ${exchange.kind} ${exchange.alternate ?? '-'}`);
    const bindings = vhost.router.bindingsFrom(exchange).filter(survives);
    const identities = bindings.map((one) =>
      bindingIdentity(exchange.name, `${one.kind} ${nameOf(one.target)}`, one.pattern, one.arguments),
    );
    for (const identity of identities.sort()) lines.push(`  binding ${identity}`);
    for (const { key, value } of exchange.retained()) {
      if ((value.info & TRANSIENT_BODY) === 0)
        lines.push(`  retained ${key.text} ${bodyText(vhost.engine, value.row)}`);
    }
  }
  for (const queue of [...vhost.queues.values()].sort((a, b) => a.id - b.id)) if (queue.logged) dumpQueue(queue, lines);
  for (const topic of [...vhost.topics.values()].sort((a, b) => a.id - b.id)) dumpTopic(topic, lines);
}

function dumpGroup(group: StoredGroup, lines: string[]): void {
  lines.push(`group ${group.vhostId} ${group.name} ${group.epoch}`);
  const offsets = group.offsets.map((offset) => JSON.stringify(offset));
  for (const offset of offsets.sort()) lines.push(`  ${offset}`);
}

function dumpTopic(topic: Topic, lines: string[]): void {
  lines.push(`topic ${topic.id} ${topic.name} ${JSON.stringify(Object.entries(topic.settings).sort())}`);
  for (const partition of topic.partitions) {
    const { id, number, runs, start, end, sealedEnd, files } = partition;
    lines.push(`  partition ${number} ${id} from ${start} to ${end}, sealed to ${sealedEnd}, ${runs.bytes} bytes`);
    for (const file of files) lines.push(`    file ${JSON.stringify(file)}`);
    for (let position = runs.head; position < runs.tail; position++) {
      const body = bodyText(partition.engine, runs.body(position));
      lines.push(`    run from ${runs.base(position)} at ${runs.newestMs(position)} ${body}`);
    }
  }
}

function dumpQueue(queue: Queue, lines: string[]): void {
  const { engine } = queue;
  lines.push(`queue ${queue.id} ${queue.name} ${queue.settings.autoDelete} ${tableText(queue.effective.table)}`);
  for (const { ring, level } of queue.lanes.all) {
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
      const info = ring.info(position);
      if ((info & TRANSIENT_BODY) !== 0) continue;
      lines.push(`  ${level}/${position} ${info.toString(16)} ${bodyText(engine, ring.body(position))}`);
    }
  }
}

function tableText(table: object): string {
  return JSON.stringify(Object.entries(table).sort());
}

function bodyText(engine: Engine, row: number): string {
  const { logged } = engine.bodies;
  return `${logged.segment(row)}:${logged.offset(row)}+${logged.length(row)} refs ${logged.refs(row)}`;
}

function nameOf(target: unknown): string {
  return (target as { readonly name: string }).name;
}
