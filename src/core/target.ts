/** What a producer publishes to. */
import type { Client } from './client.ts';
import type { Address } from './door.ts';
import type { Exchange } from './exchange-entity.ts';
import type { RoutingKey } from './message.ts';
import type { Plan } from './plan.ts';
import { Template } from './stored-message.ts';

/** An address with what is known of its route. */
export class Target implements Address {
  readonly key: RoutingKey;
  readonly template: Template;
  resolved: Exchange;
  plan: Plan | undefined;

  constructor(exchange: Exchange, key: RoutingKey, client: Client) {
    this.resolved = exchange;
    this.key = key;
    this.template = new Template(exchange.name, key, client.identity.user, client.identity.clientId);
  }

  get exchange(): string {
    return this.resolved.name;
  }
}
