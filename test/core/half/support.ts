/** Helpers for tests of half messages. */
import {
  type Client,
  CONFIRM,
  type CoreError,
  type HalfCheck,
  type HalfOp,
  type HalfSettings,
  type Message,
  type Producer,
} from '../../../src/core/index.ts';
import { bodyOf, connect, durably, type Fixture, key } from '../fixture.ts';

export interface Preparing extends Partial<HalfSettings> {
  readonly exchange?: string;
  readonly options?: number;
}

/** Prepare messages, each `[key, body or message]`, in group `shop` under id `h1` unless told otherwise. */
export function prepare(
  producer: Producer,
  messages: readonly (readonly [string, string | Message])[],
  { exchange = '', options = 0, ...settings }: Preparing = {},
): boolean {
  const parts = messages.map(([to, body]) => {
    const message = typeof body === 'string' ? durably(body) : body;
    return { address: producer.address(exchange, key(to)), message };
  });
  return producer.prepareHalf(parts, { group: 'shop', id: 'h1', ...settings }, options);
}

/** End a half of group `shop`; answers the code of what was thrown or told, or `done`. */
export async function finish(fixture: Fixture, client: Client, op: HalfOp, id = 'h1', group = 'shop'): Promise<string> {
  let told: string | undefined;
  try {
    client.finishHalf(group, id, op, (error) => {
      told = error?.code ?? 'done';
    });
  } catch (error) {
    return (error as CoreError).code;
  }
  await fixture.clock.run(() => told !== undefined);
  return told ?? 'nothing';
}

/** Bodies in a queue, taken out. */
export async function drain(fixture: Fixture, queue: string): Promise<string[]> {
  const bodies: string[] = [];
  const client = connect(fixture);
  client.subscribe(
    queue,
    { credit: 10_000, settled: true },
    {
      onDeliveries: (batch) => {
        while (batch.next()) bodies.push(bodyOf(batch.message));
      },
    },
  );
  await fixture.settle();
  client.close();
  return bodies;
}

/** What a check said, with the bodies of its messages. */
export interface Asked {
  readonly id: string;
  readonly check: number;
  readonly bodies: string[];
}

export function asked(check: HalfCheck): Asked {
  const bodies: string[] = [];
  while (check.next()) bodies.push(bodyOf(check.message));
  return { id: check.id, check: check.check, bodies };
}

/** A producer whose confirms are noted as `n` or `-n` for a refusal. */
export function confirming(client: Client): { producer: Producer; confirms: number[] } {
  const confirms: number[] = [];
  let last = 0;
  const producer = client.producer({
    onConfirm: (upTo, refused) => {
      while (last < upTo) {
        last++;
        confirms.push(refused?.includes(last) === true ? -last : last);
      }
    },
  });
  return { producer, confirms };
}

export { CONFIRM };
