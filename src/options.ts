/**
 * Every option the gateway has, in one table. Flags, environment variables, the keys of the YAML file, `--help` and
 * `docs/configuration.md` are all made from it (a check compares the document), so an option exists in all four or in none.
 * Precedence: flag > environment > file > default.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { DELAY_LEVELS, LIMITS, type LimitName, type Limits, limitsWith, parseDelay } from './core/index.ts';

/** A user of the gateway, as the configuration file lists it. */
export interface UserOption {
  readonly name: string;
  /** A hash made by `junctionmq hash-password`; passwords themselves are never written down. */
  readonly password: string;
  readonly administrator?: boolean;
  /** Virtual hosts the user may enter; the first is its own. Default: `/` alone. `*` is every one. */
  readonly vhosts?: readonly string[];
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** All settings, resolved. Property names are the keys of the YAML file. */
export interface Options {
  readonly dataDir: string;
  readonly host: string;
  readonly mqttPort: number;
  readonly amqpPort: number;
  readonly httpPort: number;
  readonly logLevel: LogLevel;
  readonly guest: boolean;
  readonly anonymous: boolean;
  readonly allowedOrigins: readonly string[];
  readonly delayLevels: readonly string[];
  readonly users: readonly UserOption[];
  readonly limits: Limits;
}

type OptionKind = 'text' | 'port' | 'boolean' | 'level' | 'texts' | 'delays' | 'users' | 'limits';

interface OptionRow {
  readonly kind: OptionKind;
  readonly default: string | number | boolean | readonly string[] | Readonly<Record<string, never>>;
  /** One line of help. */
  readonly help: string;
  /** Only in the file: too large or too secret for a command line. */
  readonly fileOnly?: true;
}

export const OPTIONS = {
  dataDir: { kind: 'text', default: './junction-data', help: 'folder of the journal; made when it is missing' },
  host: { kind: 'text', default: '127.0.0.1', help: 'address to listen on; 0.0.0.0 for all (add users first)' },
  mqttPort: { kind: 'port', default: 1883, help: 'port for MQTT 3.1.1; 0 picks a free one' },
  amqpPort: { kind: 'port', default: 5672, help: 'port for AMQP 0-9-1; 0 picks a free one' },
  httpPort: { kind: 'port', default: 15672, help: 'port for HTTP and WebSocket; 0 picks a free one' },
  logLevel: { kind: 'level', default: 'info', help: `least level to log: ${LOG_LEVELS.join(', ')}` },
  guest: {
    kind: 'boolean',
    default: true,
    help: 'user guest with password guest, an administrator, from loopback only',
  },
  anonymous: { kind: 'boolean', default: true, help: 'clients without a user name, from loopback only' },
  allowedOrigins: {
    kind: 'texts',
    default: [],
    help: 'web origins (https://example.org) whose pages may use HTTP and WebSocket',
  },
  delayLevels: {
    kind: 'delays',
    default: DELAY_LEVELS,
    help: 'delays that publishers ask for by number, from 1 on',
  },
  users: {
    kind: 'users',
    default: [],
    help: 'users: name, password (see hash-password), administrator, vhosts',
    fileOnly: true,
  },
  limits: { kind: 'limits', default: {}, help: 'limits to change, as name=value (see the second table)' },
} as const satisfies Record<keyof Options, OptionRow>;

export type OptionName = keyof typeof OPTIONS;
const NAMES = Object.keys(OPTIONS) as OptionName[];

/** What the operator wrote, however it was written: a clear line for stderr, exit code 64 or 78. */
export class OptionError extends Error {
  /** The file is at fault, not the command line or the environment. */
  readonly inFile: boolean;

  constructor(message: string, inFile = false) {
    super(message);
    this.name = 'OptionError';
    this.inFile = inFile;
  }
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** `mqttPort` -> `mqtt-port`; `limits` is given once per limit and so is called `limit`. */
export function flagOf(name: OptionName): string {
  return name === 'limits' ? 'limit' : kebab(name);
}

/** `mqttPort` -> `JUNCTION_MQTT_PORT`. */
export function environmentNameOf(name: OptionName): string {
  return `JUNCTION_${kebab(name).replaceAll('-', '_').toUpperCase()}`;
}

// ---- Checking one value -------------------------------------------------------------------------------------------

/** What a value of this kind may be, for messages and the document. */
export const KIND_TEXT: Readonly<Record<OptionKind, string>> = {
  text: 'text',
  port: 'number from 0 to 65535',
  boolean: 'true or false',
  level: `log level (${LOG_LEVELS.join(', ')})`,
  texts: 'list of texts',
  delays: 'list of delays (250ms, 1s, 5m, 2h, 1d)',
  users: 'list of users',
  limits: 'map of names to numbers',
};

function parseNumber(text: string): number | undefined {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Longest time a timer of Node.js takes. */
const MS_MAX = 2 ** 31 - 1;

/** Least and greatest value of a limit: nothing is unlimited, and nothing but the wanted free disk space may be zero. */
export function limitRange(name: LimitName): readonly [min: number, max: number] {
  return [name === 'diskFreeBytesMin' ? 0 : 1, /Ms($|[A-Z])/.test(name) ? MS_MAX : Number.MAX_SAFE_INTEGER];
}

/** `name=value` pairs of `--limit` and `JUNCTION_LIMITS`. */
function parseLimits(pairs: readonly string[], where: string): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const pair of pairs) {
    const [, name = '', text = ''] = /^\s*([^=]+?)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    if (!Object.hasOwn(LIMITS, name))
      throw new OptionError(`${where}: there is no limit named ${JSON.stringify(name || pair)}`);
    const value = parseNumber(text);
    const [min, max] = limitRange(name as LimitName);
    if (value === undefined || value < min || value > max) {
      const range = `a whole number from ${min} to ${max}`;
      throw new OptionError(`${where}: ${name} must be ${range}, not ${JSON.stringify(text)}`);
    }
    limits[name] = value;
  }
  return limits;
}

/** Text from a flag or the environment to a value; throws OptionError. */
function parseText(name: OptionName, text: string, where: string): unknown {
  const kind = OPTIONS[name].kind;
  const refuse = (): never => {
    throw new OptionError(`${where} must be a ${KIND_TEXT[kind]}, not ${JSON.stringify(text)}`);
  };
  switch (kind) {
    case 'text':
      return text === '' ? refuse() : text;
    case 'port': {
      const port = parseNumber(text);
      return port === undefined || port > 65_535 ? refuse() : port;
    }
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : refuse();
    case 'level':
      return (LOG_LEVELS as readonly string[]).includes(text) ? text : refuse();
    case 'texts':
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'delays': {
      const delays = text.split(',').map((item) => item.trim());
      return delays.every((delay) => parseDelay(delay) !== undefined) ? delays : refuse();
    }
    default:
      return parseLimits(
        text.split(',').filter((pair) => pair.trim() !== ''),
        where,
      );
  }
}

// ---- The three sources --------------------------------------------------------------------------------------------

/** Values of one source, checked, by option name. */
export type Given = Partial<Record<OptionName, unknown>>;

/** Flags of `start` beyond those of the table, and what they mean. */
export const START_FLAGS = {
  config: { argument: 'FILE', help: 'YAML file with options (environment: JUNCTION_CONFIG)' },
  recover: {
    argument: 'REMEDY',
    help: 'what to do with a damaged journal; the message that asks for it names the choices',
  },
} as const;

export interface CommandLine {
  readonly command: string | undefined;
  readonly operands: readonly string[];
  readonly given: Given;
  readonly config: string | undefined;
  readonly recover: string | undefined;
  readonly help: boolean;
  readonly version: boolean;
  readonly checkConfig: boolean;
  readonly verify: boolean;
}

function flagConfig(): NonNullable<ParseArgsConfig['options']> {
  const flags: NonNullable<ParseArgsConfig['options']> = {
    config: { type: 'string' },
    recover: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean', short: 'v' },
    'check-config': { type: 'boolean' },
    verify: { type: 'boolean' },
  };
  for (const name of NAMES) {
    const row: OptionRow = OPTIONS[name];
    if (row.fileOnly) continue;
    const many = row.kind === 'limits' || row.kind === 'texts' || row.kind === 'delays';
    flags[flagOf(name)] = row.kind === 'boolean' ? { type: 'boolean' } : { type: 'string', multiple: many };
  }
  return flags;
}

/** Read the arguments after the script's name. Throws OptionError for an unknown flag or a bad value. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options: flagConfig(), allowPositionals: true, allowNegative: true });
  } catch (error) {
    throw new OptionError((error as Error).message.replace(/\. To specify a positional.*$/s, ''));
  }
  const { values, positionals } = parsed;
  const given: Given = {};
  for (const name of NAMES) {
    const flag = flagOf(name);
    const value = values[flag];
    if (value === undefined) continue;
    given[name] = typeof value === 'boolean' ? value : parseText(name, String(value), `--${flag}`);
  }
  const text = (name: string): string | undefined => values[name] as string | undefined;
  return {
    command: positionals[0],
    operands: positionals.slice(1),
    given,
    config: text('config'),
    recover: text('recover'),
    help: values['help'] === true,
    version: values['version'] === true,
    checkConfig: values['check-config'] === true,
    verify: values['verify'] === true,
  };
}

/** Variables that name the options which may come from the environment. */
const NAME_OF_VARIABLE: ReadonlyMap<string, OptionName> = new Map(
  NAMES.filter((name) => !('fileOnly' in OPTIONS[name])).map((name) => [environmentNameOf(name), name]),
);

export type Environment = Readonly<Record<string, string | undefined>>;

/** Read `JUNCTION_*`. Throws OptionError for a bad value. */
export function parseEnvironment(environment: Environment): Given {
  const given: Given = {};
  for (const [variable, name] of NAME_OF_VARIABLE) {
    const text = environment[variable];
    if (text !== undefined) given[name] = parseText(name, text, variable);
  }
  return given;
}

/**
 * `JUNCTION_*` variables that are no option: a typo, most likely, and worth a warning. Not an error, because container
 * platforms set variables of their own for a service of that name (`JUNCTION_PORT=tcp://...`).
 */
export function unknownVariables(environment: Environment): string[] {
  return Object.keys(environment).filter(
    (name) => name.startsWith('JUNCTION_') && name !== 'JUNCTION_CONFIG' && !NAME_OF_VARIABLE.has(name),
  );
}

/** Defaults < file < environment < flags; limits are merged one by one. */
export function mergeOptions(sources: readonly Given[]): Options {
  const merged: Record<string, unknown> = {};
  let limits: Partial<Record<LimitName, number>> = {};
  for (const name of NAMES) merged[name] = OPTIONS[name].default;
  for (const source of sources) {
    Object.assign(merged, source);
    limits = { ...limits, ...(source.limits as Partial<Limits> | undefined) };
  }
  merged['limits'] = limitsWith(limits);
  return merged as unknown as Options;
}
