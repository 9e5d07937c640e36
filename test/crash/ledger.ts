/**
 * What the clients know about every message across crashes, and what must therefore hold (DESIGN section 10):
 * - confirmed: the broker promised it. It must come out, at least once.
 * - uncertain: sent, and the process died before it answered. It may come out.
 * - acked: the consumer acknowledged it, but the broker never answered that: it may come again.
 * - gone: the acknowledgement itself was answered as durable. It must never come again.
 */
/** A message came out. `redelivered`: the broker says it was handed out before. */
export type Receive = (id: string, redelivered: boolean) => void;

export class Ledger {
  readonly #sent = new Set<string>();
  readonly #confirmed = new Set<string>();
  readonly #received = new Set<string>();
  readonly #gone = new Set<string>();
  readonly violations: string[] = [];
  repeats = 0;

  sent(id: string): void {
    this.#sent.add(id);
  }

  confirmed(id: string): void {
    this.#confirmed.add(id);
  }

  /** A new consumer: each sees the messages of one publisher in order, save those that come a second time. */
  consumer(): Receive {
    const newest = new Map<string, number>();
    return (id, redelivered) => {
      this.#note(id);
      if (redelivered) return;
      const [publisher, number] = split(id);
      const last = newest.get(publisher) ?? -1;
      if (number <= last) this.violations.push(`${id} was handed to a consumer after ${publisher}:${last}`);
      newest.set(publisher, number);
    };
  }

  #note(id: string): void {
    if (!this.#sent.has(id)) this.violations.push(`${id} was received but never sent`);
    if (this.#gone.has(id)) this.violations.push(`${id} came again after its acknowledgement was durable`);
    if (this.#received.has(id)) this.repeats++;
    this.#received.add(id);
  }

  gone(id: string): void {
    this.#gone.add(id);
  }

  /** To be called when everything was drained: every confirmed message must have come out. */
  finish(): void {
    for (const id of this.#confirmed)
      if (!this.#received.has(id)) this.violations.push(`${id} was confirmed and is lost`);
  }

  summary(): string {
    return (
      `sent ${this.#sent.size}, confirmed ${this.#confirmed.size}, received ${this.#received.size} ` +
      `(${this.repeats} again), acknowledged for good ${this.#gone.size}`
    );
  }
}

function split(id: string): [publisher: string, number: number] {
  const at = id.lastIndexOf(':');
  return [id.slice(0, at), Number(id.slice(at + 1))];
}
