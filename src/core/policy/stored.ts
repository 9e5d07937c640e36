/** Policies and live settings as records and checkpoint objects have them (docs/disk-format-records.md). */
import type { Limits } from '../limits.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { RuleTable } from './effective.ts';
import { NamePattern } from './pattern.ts';
import type { Policy, Ruled } from './policies.ts';

/** What was accepted once stays accepted, whatever the limits are when it is read back. */
const NO_LIMITS = {
  policyPatternBytesMax: Number.POSITIVE_INFINITY,
  policyPatternStepsMax: Number.POSITIVE_INFINITY,
} as const satisfies Partial<Limits>;

export function writePolicy(out: TlvWriter, vhostId: number, policy: Policy): void {
  const { name, isOperator, pattern, priority, definition } = policy;
  out.u32(vhostId).flag(isOperator).text(name).text(pattern.text).f64(priority).table(definition);
}

export function addStoredPolicy(topology: Topology, from: TlvReader): void {
  const vhost = topology.vhostsById.get(from.u32());
  const isOperator = from.flag();
  const name = from.text();
  const pattern = new NamePattern(from.text(), NO_LIMITS);
  vhost?.policies.set({ name, isOperator, pattern, priority: from.f64(), definition: from.table() });
}

export function removeStoredPolicy(topology: Topology, from: TlvReader): void {
  const vhost = topology.vhostsById.get(from.u32());
  const isOperator = from.flag();
  vhost?.policies.remove(from.text(), isOperator);
}

export function writeLiveRules(out: TlvWriter, queue: Ruled, table: RuleTable): void {
  out.u32(queue.id).table(table);
}

export function setStoredLiveRules(topology: Topology, from: TlvReader): void {
  const queue = topology.queuesById.get(from.u32());
  queue?.vhost.policies.setLive(queue, from.table());
}
