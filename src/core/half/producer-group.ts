/** A producer group: those who may be asked about its halves, and these. */
import type { Client } from '../client.ts';
import { Fifo } from '../fifo.ts';
import type { Vhost } from '../vhost.ts';
import type { CheckerHandlers, HalfCheck, HalfChecker, ProducerGroupInfo } from './door.ts';
import type { Half } from './half.ts';

/** A member that can be asked. */
export class Checker implements HalfChecker {
  readonly #group: ProducerGroup;
  readonly #client: Client;
  readonly #handlers: CheckerHandlers;
  readonly #left: () => void;

  /** @param left called when it is a member no more */
  constructor(group: ProducerGroup, client: Client, handlers: CheckerHandlers, left: () => void) {
    this.#group = group;
    this.#client = client;
    this.#handlers = handlers;
    this.#left = left;
    group.checkers.push(this);
  }

  get group(): string {
    return this.#group.name;
  }

  ask(check: HalfCheck): boolean {
    return this.#handlers.onCheck(check);
  }

  close(): void {
    const { checkers } = this.#group;
    const at = checkers.indexOf(this);
    if (at < 0) return;
    checkers.splice(at, 1);
    this.#client.leftChecking(this);
    this.#left();
  }
}

export class ProducerGroup {
  readonly vhost: Vhost;
  readonly name: string;
  /** By id: the open ones, and those that ended not long ago. */
  readonly halves = new Map<string, Half>();
  /** Those of them that are open, and those of these that are parked. */
  open = 0;
  parked = 0;
  readonly checkers: Checker[] = [];
  /** Where to ask when none of these can be. */
  callback: string | undefined;
  /** Halves to be asked about, and how many are being asked about. */
  readonly waiting: Fifo<Half> = new Fifo();
  asking = 0;
  #turn = 0;

  constructor(vhost: Vhost, name: string) {
    this.vhost = vhost;
    this.name = name;
  }

  /** Nobody needs it. */
  get unused(): boolean {
    return this.halves.size === 0 && this.checkers.length === 0 && this.callback === undefined;
  }

  /** Somebody can be asked. */
  get reachable(): boolean {
    return this.checkers.length > 0 || this.callback !== undefined;
  }

  /** Ask the next member that has room. Answers false when none has. @param make the question, for each of them */
  ask(make: () => HalfCheck): boolean {
    const { length } = this.checkers;
    for (let tries = 0; tries < length; tries++) {
      const checker = this.checkers[this.#turn++ % length];
      if (checker?.ask(make()) === true) return true;
    }
    return false;
  }

  info(): ProducerGroupInfo {
    const { name, open: halves, parked, checkers, callback } = this;
    return { name, halves, parked, checkers: checkers.length, callback };
  }
}
