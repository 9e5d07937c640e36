/** The names filters know of a message: its sections by their own names, the header names of Jakarta Messaging, its properties. */
import type { HubProperties, HubValue } from '../message.ts';
import type { FilterSource } from './filter.ts';

/** What the broker itself knows of a message, outside its properties. */
export interface MessageFacts {
  /** Routing key as the publisher wrote it. */
  readonly key: string;
  readonly exchange: string;
  /** Wall-clock milliseconds when the broker took it. */
  readonly receivedAtMs: number;
}

type Read = (hub: HubProperties, facts: MessageFacts) => HubValue | undefined;

/** What a message without a priority has (Jakarta Messaging 3.1, 3.4.10). */
const PRIORITY_DEFAULT = 4;

/** Names with a meaning. All others, and those of these that have no value, are application properties, then annotations. */
const READERS: ReadonlyMap<string, Read> = new Map<string, Read>([
  ['header.durable', (hub) => hub.durable],
  ['header.priority', (hub) => hub.priority],
  ['header.ttl', (hub) => hub.ttlMs],
  ['properties.message_id', (hub) => hub.messageId],
  ['properties.user_id', (hub) => hub.userId],
  ['properties.to', (hub) => hub.to],
  ['properties.subject', (hub) => hub.subject],
  ['properties.reply_to', (hub) => hub.replyTo],
  ['properties.correlation_id', (hub) => hub.correlationId],
  ['properties.content_type', (hub) => hub.contentType],
  ['properties.content_encoding', (hub) => hub.contentEncoding],
  ['properties.absolute_expiry_time', (hub) => hub.absoluteExpiryMs],
  ['properties.creation_time', (hub) => hub.creationTimeMs],
  ['properties.group_id', (hub) => hub.groupId],
  ['properties.group_sequence', (hub) => hub.groupSequence],
  ['properties.reply_to_group_id', (hub) => hub.replyToGroupId],
  ['message.key', (_hub, facts) => facts.key],
  ['message.exchange', (_hub, facts) => facts.exchange],
  ['message.received_at', (_hub, facts) => facts.receivedAtMs],
  ['JMSMessageID', (hub) => hub.messageId],
  ['JMSCorrelationID', (hub) => hub.correlationId],
  ['JMSType', (hub) => hub.subject],
  ['JMSPriority', (hub) => hub.priority ?? PRIORITY_DEFAULT],
  ['JMSTimestamp', (hub, facts) => hub.creationTimeMs ?? facts.receivedAtMs],
  ['JMSDeliveryMode', (hub) => (hub.durable ? 'PERSISTENT' : 'NON_PERSISTENT')],
  ['JMSXGroupID', (hub) => hub.groupId],
  ['JMSXGroupSeq', (hub) => hub.groupSequence],
  ['JMSXUserID', (hub) => hub.userId],
]);

const APPLICATION = 'application.';
const ANNOTATIONS = 'annotations.';
/** Up to so many application properties looking through the list beats making a map of it. */
const LISTED_MAX = 16;

/** What filters see of one message. Of several properties with one name, the first counts. */
export function hubSource(hub: HubProperties, facts: MessageFacts): FilterSource {
  return new HubSource(hub, facts);
}

class HubSource implements FilterSource {
  readonly #hub: HubProperties;
  readonly #facts: MessageFacts;
  #byName: Map<string, HubValue> | undefined;

  constructor(hub: HubProperties, facts: MessageFacts) {
    this.#hub = hub;
    this.#facts = facts;
  }

  value(name: string): HubValue | undefined {
    const known = READERS.get(name)?.(this.#hub, this.#facts);
    if (known !== undefined) return known;
    if (name.startsWith(APPLICATION)) return this.#application(name.slice(APPLICATION.length));
    if (name.startsWith(ANNOTATIONS)) return this.#hub.annotations.get(name.slice(ANNOTATIONS.length));
    return this.#application(name) ?? this.#hub.annotations.get(name);
  }

  #application(name: string): HubValue | undefined {
    const list = this.#hub.application;
    if (list.length <= LISTED_MAX) {
      for (const [key, value] of list) if (key === name) return value;
      return undefined;
    }
    this.#byName ??= indexOf(list);
    return this.#byName.get(name);
  }
}

function indexOf(list: HubProperties['application']): Map<string, HubValue> {
  const byName = new Map<string, HubValue>();
  for (const [name, value] of list) if (!byName.has(name)) byName.set(name, value);
  return byName;
}
