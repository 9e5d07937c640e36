/** Half messages in JSON, as HTTP and WebSocket clients see them (docs/half-messages.md). */
import {
  type Broker,
  type HalfCheck,
  type HalfMessage,
  type HalfSettings,
  Message,
  type Producer,
} from '../core/index.ts';
import { bodyOf, fillMessage, messageJson } from './json-message.ts';
import { ITEMS_MAX, isMandatory, JSON_ITEM, type JsonItem } from './json-transaction.ts';
import { type AddressBook, targetOf } from './targets.ts';

/** What a request to prepare says beside the name of the group. */
export interface JsonPrepare {
  /** Chosen by the client; else it is given one. */
  half?: string;
  first_check_ms?: number;
  check_every_ms?: number;
  checks_max?: number;
  messages: JsonItem[];
}

/** The name of a group, or the id of a half. */
export const HALF_NAME = { type: 'string', minLength: 1, maxLength: 255 } as const;

/** JSON schema members that describe `JsonPrepare`; `messages` is required. The core checks what values are allowed. */
export const PREPARE_PROPERTIES = {
  half: HALF_NAME,
  first_check_ms: { type: 'number' },
  check_every_ms: { type: 'number' },
  checks_max: { type: 'number' },
  messages: { type: 'array', minItems: 1, maxItems: ITEMS_MAX, items: JSON_ITEM },
};

/** Prepare what a request says; the id it names, or a new one, is `id`. Answers and throws as the producer does. */
export function prepareJson(
  producer: Producer,
  addresses: AddressBook,
  said: JsonPrepare,
  { broker, group, id, nowMs, options }: { broker: Broker; group: string; id: string; nowMs: number; options: number },
): boolean {
  const messages: HalfMessage[] = said.messages.map((one) => {
    const message = new Message();
    fillMessage(broker, message, one, bodyOf(one), nowMs);
    return { address: addresses.find(targetOf(one)), message, mandatory: isMandatory(one) };
  });
  const settings: HalfSettings = {
    ...{ group, id },
    ...(said.first_check_ms === undefined ? {} : { firstCheckMs: said.first_check_ms }),
    ...(said.check_every_ms === undefined ? {} : { checkEveryMs: said.check_every_ms }),
    ...(said.checks_max === undefined ? {} : { checksMax: said.checks_max }),
  };
  return producer.prepareHalf(messages, settings, options);
}

/** A check as the text of a JSON object, without the opening brace. Valid check only. */
export function checkJsonTail(broker: Broker, check: HalfCheck): string {
  const { group, id: half, check: number, checksMax, preparedAtMs } = check;
  const facts = { group, half, check: number, checks_max: checksMax, prepared_at_ms: preparedAtMs };
  const messages: string[] = [];
  while (check.next()) messages.push(messageJson(broker, check.message));
  return `${JSON.stringify(facts).slice(1, -1)},"messages":[${messages.join(',')}]}`;
}
