/** What the control plane offers for rules of queues that live already (docs/policies.md). */
import type { Arguments, QueueInfo } from '../door.ts';
import type { HubValue } from '../message.ts';

export interface PolicySettings {
  /** Regular expression, searched for in the names of queues; in linear time, so without references back and looking around. */
  pattern: string;
  /** Of several policies that match a queue the one of the highest priority holds, alone; of equal ones the first by name. */
  priority: number;
  /** Rules by the names of their arguments without `x-`. */
  definition: Arguments;
}

export interface PolicyInfo extends PolicySettings {
  name: string;
  operator: boolean;
}

/** Policies of users and those of operators have names of their own. The latter hold beside the former, and only limit. */
export interface PolicyKind {
  operator?: boolean;
}

/** A rule that changes. Undefined: not set. */
export interface RuleChange {
  rule: string;
  before: HubValue | undefined;
  after: HubValue | undefined;
}

/** A message that would be given up, and why. */
export interface PreviewedMessage {
  reason: 'maxlen' | 'ring' | 'expired';
  exchange: string;
  key: string;
  /** If it has one that is text. */
  messageId: string | undefined;
  priority: number;
  /** As stored. */
  bytes: number;
  receivedAtMs: number;
}

/** What other rules would do to a queue, as it was when it was looked at. */
export interface QueuePreview {
  queue: string;
  changes: RuleChange[];
  /** Names of the policies that would be in force. */
  policy: string | undefined;
  operatorPolicy: string | undefined;
  /** Deliverable messages now. */
  ready: number;
  /** Of these would be given up because the queue is too long, and because they have expired. */
  overLength: number;
  expired: number;
  /** Of these would be deleted because the ring is too small: they are not given up. */
  overRing: number;
  /** The first of them, `previewMessagesMax` for each reason: what would go first. Only for the first hundred queues. */
  messages: PreviewedMessage[];
  /** False: there may be more expired ones; not all of them were looked at (`previewBodiesMax`). */
  exact: boolean;
  /** Messages given up before that wait for somebody to take them, and would be deleted. */
  abandoned: number;
  /** Where what is given up goes; undefined: it is deleted. */
  deadLetterExchange: string | undefined;
  /** Rules that would have no effect, and why. */
  problems: readonly string[];
}

export interface RulesPreview {
  /** Queues for which something would change, and sums over them. */
  queues: number;
  overLength: number;
  overRing: number;
  expired: number;
  abandoned: number;
  exact: boolean;
  /** The first `listItemsMax` of them. */
  items: QueuePreview[];
}

/**
 * Rules of queues, changed while they live. Changes are in force when the promise resolves, and durable; what no longer fits is
 * given up from then on, some at a time. Errors: `not-found`, `invalid-argument`, `limit-exceeded`.
 */
export interface PolicyAdmin {
  list(vhost: string, kind?: PolicyKind): PolicyInfo[];
  get(vhost: string, name: string, kind?: PolicyKind): PolicyInfo | undefined;
  /** Make a policy, or put it in the place of the one of its name. */
  set(vhost: string, name: string, settings: PolicySettings, kind?: PolicyKind): Promise<void>;
  remove(vhost: string, name: string, kind?: PolicyKind): Promise<void>;
  /** The live settings of one queue, all of them: they stand in for the arguments it was declared with, which still are what
   *  declaring it again is compared with. Null: as if it had not been declared. An empty table takes all of them back. */
  setQueueRules(vhost: string, queue: string, rules: Arguments): Promise<QueueInfo>;

  /** What the same call without `preview` would do. Nothing changes. */
  previewSet(vhost: string, name: string, settings: PolicySettings, kind?: PolicyKind): Promise<RulesPreview>;
  previewRemove(vhost: string, name: string, kind?: PolicyKind): Promise<RulesPreview>;
  previewQueueRules(vhost: string, queue: string, rules: Arguments): Promise<RulesPreview>;
}
