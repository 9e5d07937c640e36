/** Declaring what is there already: only with the same settings. What is in force by policies does not matter here. */
import type { Arguments, ExchangeSettings, QueueSettings } from './door.ts';
import { CoreError } from './errors.ts';
import type { HubValue } from './message.ts';
import { sameArguments } from './tlv.ts';

interface Declared<S> {
  readonly name: string;
  readonly settings: S;
}

/** Throws `already-exists` with what differs. */
export function checkSameExchange({ name, settings }: Declared<ExchangeSettings>, wanted: ExchangeSettings): void {
  for (const field of ['kind', 'durable', 'autoDelete', 'internal', 'alternate'] as const) {
    if (settings[field] !== wanted[field]) {
      throw new CoreError('already-exists', `exchange '${name}' has ${field} ${settings[field]}, not ${wanted[field]}`);
    }
  }
  checkArguments(`exchange '${name}'`, settings.arguments, wanted.arguments);
}

/** Throws `already-exists` with what differs. */
export function checkSameQueue({ name, settings }: Declared<QueueSettings>, wanted: QueueSettings): void {
  for (const field of ['durable', 'autoDelete', 'exclusive'] as const) {
    if (settings[field] !== wanted[field]) {
      throw new CoreError('already-exists', `queue '${name}' has ${field} ${settings[field]}, not ${wanted[field]}`);
    }
  }
  checkArguments(`queue '${name}'`, settings.arguments, wanted.arguments);
}

function checkArguments(what: string, declared: Arguments, wanted: Arguments): void {
  if (sameArguments(declared, wanted)) return;
  const names = [...Object.keys(declared), ...Object.keys(wanted)];
  const name = names.find((one) => !sameArguments(only(declared, one), only(wanted, one)));
  if (name === undefined) return;
  const [was, is] = [textOf(name, declared[name]), textOf(name, wanted[name])];
  throw new CoreError('already-exists', `${what} was declared ${was}, not ${is}`);
}

function only(args: Arguments, name: string): Arguments {
  const value = args[name];
  return value === undefined ? {} : { [name]: value };
}

/** An argument in an error text: long values are not repeated. */
function textOf(name: string, value: HubValue | undefined): string {
  if (value === undefined) return `without ${name}`;
  const isShort = typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string';
  return isShort ? `with ${name} ${JSON.stringify(value).slice(0, 100)}` : `with another ${name}`;
}
