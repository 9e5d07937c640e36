/**
 * What a queue must do, in the plainest words: a list. The model test drives the broker and this side by side, with crashes
 * in between, and compares (DESIGN section 10).
 */
import { strict as assert } from 'node:assert';
import type { QueueKind } from './script.ts';

export interface ModelMessage {
  readonly id: number;
  /** It and its queue are to survive a restart. */
  readonly logged: boolean;
  /** Its publisher was told that it is safe. */
  confirmed: boolean;
  /** Times it came back in this life of the broker, or at least that often. */
  returns: number;
  /** Handed out and not settled. */
  out: boolean;
}

export class ModelQueue {
  readonly name: string;
  /** It survives a restart. */
  readonly durable: boolean;
  readonly kind: QueueKind;
  /** In order of publishing: everything not settled. */
  readonly messages = new Map<number, ModelMessage>();
  /** Settled, but a crash may undo it. */
  readonly uncertain = new Map<number, ModelMessage>();
  /** Settled for good: must never be seen again. */
  readonly gone = new Set<number>();

  constructor(name: string, durable: boolean, kind: QueueKind) {
    this.name = name;
    this.durable = durable;
    this.kind = kind;
  }

  published(id: number, persistent: boolean): void {
    const logged = persistent && this.durable;
    this.messages.set(id, { id, logged, confirmed: false, returns: 0, out: false });
  }

  confirmed(id: number): void {
    const message = this.messages.get(id) ?? this.uncertain.get(id);
    if (message !== undefined) message.confirmed = true;
  }

  /** The broker hands out `id`: it must be the oldest one that is not handed out. */
  delivered(id: number, redeliveries: number, asksConfirm: boolean): void {
    assert(!this.gone.has(id), `${this.name}: ${id} was acknowledged for good and is delivered again`);
    const message = this.messages.get(id);
    assert(message !== undefined, `${this.name}: ${id} is delivered and not in the queue`);
    const first = this.#first();
    assert.equal(id, first?.id, `${this.name}: ${id} is delivered before ${first?.id}`);
    assert.equal(redeliveries, message.returns, `${this.name}: ${id} has a wrong count of redeliveries`);
    assert(
      !message.logged || message.confirmed || !asksConfirm,
      `${this.name}: ${id} is delivered before it is durable`,
    );
    message.out = true;
  }

  #first(): ModelMessage | undefined {
    for (const message of this.messages.values()) if (!message.out) return message;
    return undefined;
  }

  /** Taken out by a consumer; durable when `settledForGood` follows. */
  settled(id: number): void {
    const message = this.messages.get(id);
    assert(message !== undefined, `${this.name}: ${id} is settled and not in the queue`);
    this.messages.delete(id);
    if (message.logged) this.uncertain.set(id, message);
    else this.gone.add(id);
  }

  settledForGood(id: number): void {
    if (this.uncertain.delete(id)) this.gone.add(id);
  }

  returned(id: number): void {
    const message = this.messages.get(id);
    assert(message !== undefined, `${this.name}: ${id} is returned and not in the queue`);
    message.out = false;
    message.returns++;
  }

  /** All that are not handed out are deleted; answers them. */
  purged(): number[] {
    const ids = [...this.messages.values()].filter((message) => !message.out).map((message) => message.id);
    for (const id of ids) this.settled(id);
    return ids;
  }

  /** Whether there is something to hand out that is not newer than `newest`. */
  holds(newest: number): boolean {
    const first = this.#first();
    return first !== undefined && first.id <= newest;
  }

  get ready(): number {
    let count = 0;
    for (const message of this.messages.values()) if (!message.out) count++;
    return count;
  }

  /** Begin with what there is, whatever was promised. */
  adopt(found: readonly { id: number; redeliveries: number }[]): void {
    for (const { id, redeliveries } of found) {
      this.messages.set(id, { id, logged: true, confirmed: true, returns: redeliveries, out: false });
    }
  }

  /** The broker restarted and shows `found`, in order. Everything that was promised must be there, nothing that was not. */
  restarted(found: readonly { id: number; redeliveries: number }[], clean: boolean): void {
    const seen = new Map(found.map((one) => [one.id, one.redeliveries]));
    assert.equal(seen.size, found.length, `${this.name}: a message is there twice after a restart`);
    for (const { id, logged, confirmed, out } of this.messages.values()) {
      if (!logged) assert(!seen.has(id), `${this.name}: ${id} was not logged and is there after a restart`);
      else if (confirmed || clean)
        assert(seen.has(id), `${this.name}: ${id} was confirmed and is lost (handed out: ${out})`);
    }
    for (const id of this.gone) assert(!seen.has(id), `${this.name}: ${id} was acknowledged for good and is back`);
    if (clean)
      for (const id of this.uncertain.keys()) assert(!seen.has(id), `${this.name}: ${id} is back after a clean stop`);
    let last = 0;
    const known = new Map([...this.uncertain, ...this.messages]);
    this.messages.clear();
    for (const { id, redeliveries } of found) {
      const message = known.get(id);
      assert(message !== undefined, `${this.name}: nobody published ${id}`);
      assert(id > last, `${this.name}: ${id} is after ${last}`);
      last = id;
      assert(redeliveries <= message.returns + 1, `${this.name}: ${id} was not redelivered ${redeliveries} times`);
      this.messages.set(id, { ...message, returns: redeliveries, out: false, confirmed: true });
    }
    for (const id of this.uncertain.keys()) if (!seen.has(id)) this.gone.add(id);
    this.uncertain.clear();
  }
}
