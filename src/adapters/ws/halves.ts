/** Half messages on a JSON WebSocket: ending them, and being asked about those of a producer group. */
import {
  type Broker,
  type Client,
  CoreError,
  type HalfCheck,
  type HalfChecker,
  type Limits,
} from '../../core/index.ts';
import { checkJsonTail } from '../json-half.ts';
import type { FrameId, HalfEndFrame } from './frames.ts';
import type { WsOutput } from './output.ts';

export interface HalfHandlers {
  /** A request is done. */
  onDone(id: FrameId | undefined): void;
  onRefused(id: FrameId | undefined, error: CoreError): void;
}

export class HalfMember {
  readonly #broker: Broker;
  readonly #client: Client;
  readonly #output: WsOutput;
  readonly #limits: Limits;
  readonly #handlers: HalfHandlers;
  readonly #groups = new Map<string, HalfChecker>();

  constructor(broker: Broker, client: Client, output: WsOutput, limits: Limits, handlers: HalfHandlers) {
    this.#broker = broker;
    this.#client = client;
    this.#output = output;
    this.#limits = limits;
    this.#handlers = handlers;
  }

  /** Commit or roll back. Throws what `Client.finishHalf` throws. */
  end({ op, id, group, half }: HalfEndFrame): void {
    this.#client.finishHalf(group, half, op, (error) => {
      if (error === undefined) this.#handlers.onDone(id);
      else this.#handlers.onRefused(id, error);
    });
  }

  /** Be asked about the halves of a group. Joining twice is joining once. Throws `limit-exceeded`. */
  join(group: string): void {
    if (this.#groups.has(group)) return;
    const { subscriptionsPerConnectionMax } = this.#limits;
    if (this.#groups.size >= subscriptionsPerConnectionMax) {
      throw new CoreError('limit-exceeded', `${subscriptionsPerConnectionMax} producer groups`);
    }
    this.#groups.set(group, this.#client.checker(group, { onCheck: (check) => this.#ask(check) }));
  }

  /** Throws `not-found` when it is no member. */
  leave(group: string): void {
    const checker = this.#groups.get(group);
    if (checker === undefined) throw new CoreError('not-found', `not in producer group '${group}'`);
    this.#groups.delete(group);
    checker.close();
  }

  #ask(check: HalfCheck): boolean {
    if (!this.#output.roomy) return false;
    this.#output.sendText(`{"op":"check",${checkJsonTail(this.#broker, check)}`);
    return true;
  }
}
