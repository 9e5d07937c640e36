/**
 * Checks of half messages over HTTP: the check is POSTed to the address registered for its producer group, and the answer says
 * what became of the half (docs/half-messages.md "Check address").
 */
import type { Broker, Clock, HalfCheck, HalfOp, Limits } from '../../core/index.ts';
import { CoreError } from '../../core/index.ts';
import { checkJsonTail } from '../json-half.ts';
import type { Log } from '../log.ts';

/** An answer is one word in braces. */
const ANSWER_BYTES_MAX = 4 * 1024;
const URL_BYTES_MAX = 2048;
const OPS: ReadonlyMap<unknown, HalfOp | undefined> = new Map([
  ['commit', 'commit'],
  ['rollback', 'rollback'],
  ['unknown', undefined],
]);

/** The address in the form in which it is stored. Throws `invalid-argument`. */
export function checkAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CoreError('invalid-argument', `${text.slice(0, 100)} is not an http or https address`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new CoreError('invalid-argument', 'an address must not hold a user name or a password');
  }
  if (url.href.length > URL_BYTES_MAX) {
    throw new CoreError('invalid-argument', `the address has ${url.href.length} bytes; ${URL_BYTES_MAX} are allowed`);
  }
  return url.href;
}

export class HalfCalls {
  readonly #broker: Broker;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #underWay = new Set<AbortController>();

  constructor(broker: Broker, limits: Limits, clock: Clock, log: Log) {
    this.#broker = broker;
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
  }

  /** A `HalfCaller` of the core. */
  readonly call = async (address: string, check: HalfCheck): Promise<void> => {
    const { vhost, group, id } = check;
    const body = `{"vhost":${JSON.stringify(vhost)},${checkJsonTail(this.#broker, check)}`;
    try {
      const op = await this.#ask(address, body);
      if (op !== undefined) await this.#broker.admin.halves.finish(vhost, group, id, op);
    } catch (error) {
      this.#log('warn', 'a check of a half message failed', { address, group, half: id, error: reasonOf(error) });
    }
  };

  /** Give up what is under way. */
  close(): void {
    for (const call of this.#underWay) call.abort();
  }

  async #ask(address: string, body: string): Promise<HalfOp | undefined> {
    const abort = new AbortController();
    const timer = this.#clock.after(this.#limits.httpCheckMs, () => abort.abort(new Error('no answer in time')));
    this.#underWay.add(abort);
    try {
      const response = await fetch(address, {
        ...{ method: 'POST', body, redirect: 'error', signal: abort.signal },
        headers: { 'content-type': 'application/json', accept: 'application/json' },
      });
      return opOf(response.status, await textOf(response));
    } finally {
      timer.cancel();
      this.#underWay.delete(abort);
    }
  }
}

function opOf(status: number, text: string): HalfOp | undefined {
  if (status !== 200) throw new Error(`status ${status}`);
  const parsed = JSON.parse(text) as { answer?: unknown } | null;
  const answer = typeof parsed === 'object' ? parsed?.answer : undefined;
  if (!OPS.has(answer)) throw new Error('the answer is not "commit", "rollback" or "unknown"');
  return OPS.get(answer);
}

/** The body of a response, which must be short. */
async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer has more than ${ANSWER_BYTES_MAX} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Why a call failed: `fetch` wraps what happened. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
