/** What the control plane tells about virtual hosts, exchanges, queues and bindings. */
import type { BindingInfo, ExchangeInfo, QueueInfo, VhostInfo } from './door.ts';
import type { Exchange } from './exchange-entity.ts';
import type { Queue } from './queue/queue.ts';
import type { Binding, Vhost } from './vhost.ts';

/** A queue as listings show it. */
export function queueInfo(queue: Queue): QueueInfo {
  const { name, settings, ready, unsettled, bytes, published, delivered, redelivered, completed, consumers } = queue;
  const { deadLettered, dropped, deferred, effective, delays } = queue;
  return {
    name,
    ...settings,
    rules: effective.table,
    liveRules: queue.vhost.policies.live.get(queue) ?? {},
    policy: effective.policy,
    operatorPolicy: effective.operatorPolicy,
    problems: effective.problems,
    ready,
    unsettled,
    deferred,
    consumers: consumers.count,
    delayed: delays?.count ?? 0,
    bytes: bytes + (delays?.bytes ?? 0),
    published,
    delivered,
    redelivered,
    completed,
    deadLettered,
    dropped,
  };
}

/** An exchange as listings show it. */
export function exchangeInfo(vhost: Vhost, exchange: Exchange): ExchangeInfo {
  const bindings = vhost.router.bindingCount(exchange);
  return {
    name: exchange.name,
    ...exchange.settings,
    bindings,
    retained: exchange.retainedCount,
    published: exchange.published,
  };
}

/** A binding as listings show it; none for a tap, which is nobody's but its client's. */
export function bindingInfo(binding: Binding): BindingInfo[] {
  if (binding.kind === 'tap') return [];
  const target = { kind: binding.kind, name: binding.target.name };
  return [{ source: binding.source.name, target, pattern: binding.pattern, arguments: binding.arguments }];
}

/** A virtual host as listings show it, with the sums of its queues. */
export function vhostInfo(vhost: Vhost): VhostInfo {
  let messages = 0;
  let bytes = 0;
  for (const queue of vhost.queues.values()) {
    messages += queue.ready + queue.unsettled + queue.deferred;
    bytes += queue.bytes;
  }
  return {
    name: vhost.name,
    connections: vhost.clients.size,
    exchanges: vhost.router.size,
    queues: vhost.queues.size,
    bindings: vhost.router.bindings,
    messages,
    bytes,
    ...vhost.counters,
  };
}
