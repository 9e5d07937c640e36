/** The hub form of a message, whatever wrote it: its own properties, and what the core knows besides. */
import { annotate, historyOf } from './death.ts';
import type { Format, HubProperties, Message } from './message.ts';

/** @param formats by id. A message of an unknown format has no properties of its own. */
export function hubOf(formats: readonly (Format | undefined)[], message: Message): HubProperties {
  const own = formats[message.format]?.toHub(message);
  const hub = own ?? { durable: message.durable, annotations: new Map(), application: [] };
  const history = historyOf(message);
  if (history !== undefined) annotate(hub, history);
  return hub;
}
