/** Policies and live settings: checks and answers. The changes are `Vhost`'s. */
import type { Job } from '../background.ts';
import { queueInfo } from '../describe.ts';
import type { Arguments, QueueInfo } from '../door.ts';
import { CoreError } from '../errors.ts';
import { checkName } from '../names.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import { checkDefinition, checkLive } from './check.ts';
import type { PolicyAdmin as PolicyAdminDoor, PolicyInfo, PolicyKind, PolicySettings, RulesPreview } from './door.ts';
import { NamePattern } from './pattern.ts';
import type { Policies, Policy } from './policies.ts';
import { Preview } from './preview.ts';

export class PolicyAdmin implements PolicyAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  list(vhostName: string, { operator = false }: PolicyKind = {}): PolicyInfo[] {
    return this.#vhost(vhostName).policies.list(operator).map(policyInfo);
  }

  get(vhostName: string, name: string, { operator = false }: PolicyKind = {}): PolicyInfo | undefined {
    const policy = this.#vhost(vhostName).policies.get(name, operator);
    return policy === undefined ? undefined : policyInfo(policy);
  }

  async set(vhostName: string, name: string, settings: PolicySettings, kind: PolicyKind = {}): Promise<void> {
    const vhost = this.#vhost(vhostName);
    vhost.setPolicy(this.#policy(vhost, name, settings, kind));
    await this.#apply(vhost, vhost.queues.values());
    await this.#topology.engine.whenDurable();
  }

  async remove(vhostName: string, name: string, kind: PolicyKind = {}): Promise<void> {
    const vhost = this.#vhost(vhostName);
    vhost.removePolicy(knownPolicy(vhost, name, kind));
    await this.#apply(vhost, vhost.queues.values());
    await this.#topology.engine.whenDurable();
  }

  async setQueueRules(vhostName: string, name: string, rules: Arguments): Promise<QueueInfo> {
    const vhost = this.#vhost(vhostName);
    const queue = ruledQueue(vhost, name, rules);
    vhost.setLiveRules(queue, rules);
    await this.#apply(vhost, [queue]);
    if (queue.logged) await this.#topology.engine.whenDurable();
    return queueInfo(queue);
  }

  previewSet(vhostName: string, name: string, settings: PolicySettings, kind: PolicyKind = {}): Promise<RulesPreview> {
    return this.#preview(vhostName, (vhost) => vhost.policies.with({ set: this.#policy(vhost, name, settings, kind) }));
  }

  previewRemove(vhostName: string, name: string, kind: PolicyKind = {}): Promise<RulesPreview> {
    return this.#preview(vhostName, (vhost) => vhost.policies.with({ remove: knownPolicy(vhost, name, kind) }));
  }

  async previewQueueRules(vhostName: string, name: string, rules: Arguments): Promise<RulesPreview> {
    const vhost = this.#vhost(vhostName);
    const queue = ruledQueue(vhost, name, rules);
    const preview = new Preview(this.#topology.engine);
    return preview.of([queue], () => vhost.policies.effectiveFor(queue, rules));
  }

  async #preview(vhostName: string, change: (vhost: Vhost) => Policies): Promise<RulesPreview> {
    const vhost = this.#vhost(vhostName);
    const policies = change(vhost);
    return new Preview(this.#topology.engine).of(vhost.queues.values(), (queue) => policies.effectiveFor(queue));
  }

  /** Put in force what holds for some queues now. After what is being purged: its bytes are nobody's any more then. */
  #apply(vhost: Vhost, queues: Iterable<Queue>): Promise<void> {
    return this.#topology.engine.background.run(applying(vhost, queues));
  }

  #policy(vhost: Vhost, name: string, settings: PolicySettings, { operator = false }: PolicyKind): Policy {
    const { limits } = this.#topology.engine;
    checkName(name, 'policy', limits);
    const { pattern, priority, definition } = settings;
    const what = `${operator ? 'operator policy' : 'policy'} '${name}'`;
    if (!Number.isSafeInteger(priority))
      throw new CoreError('invalid-argument', `${what}: the priority ${priority} is not a whole number`);
    checkDefinition(what, definition, operator);
    const { policies } = vhost;
    if (policies.get(name, operator) === undefined && policies.list(operator).length >= limits.policiesPerVhostMax)
      throw new CoreError('limit-exceeded', `${limits.policiesPerVhostMax} policies in virtual host '${vhost.name}'`);
    return { name, isOperator: operator, pattern: new NamePattern(pattern, limits), priority, definition };
  }

  #vhost(name: string): Vhost {
    return this.#topology.vhost(name);
  }
}

function* applying(vhost: Vhost, queues: Iterable<Queue>): Job {
  for (const queue of queues) {
    if (!queue.deleted) queue.applyRules(vhost.policies.effectiveFor(queue));
    yield;
  }
}

/** A queue that may have these live settings. */
function ruledQueue(vhost: Vhost, name: string, rules: Arguments): Queue {
  const queue = vhost.queues.get(name);
  if (queue === undefined) throw new CoreError('not-found', `queue '${name}' in virtual host '${vhost.name}'`);
  checkLive(`queue '${name}'`, queue.settings.arguments, rules);
  return queue;
}

function knownPolicy(vhost: Vhost, name: string, { operator = false }: PolicyKind): Policy {
  const policy = vhost.policies.get(name, operator);
  if (policy !== undefined) return policy;
  const what = operator ? 'operator policy' : 'policy';
  throw new CoreError('not-found', `${what} '${name}' in virtual host '${vhost.name}'`);
}

function policyInfo({ name, isOperator, pattern, priority, definition }: Policy): PolicyInfo {
  return { name, operator: isOperator, pattern: pattern.text, priority, definition };
}
