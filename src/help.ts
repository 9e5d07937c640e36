/** `--help` and the tables of `docs/configuration.md`, both made from the option and limit tables. */
import { LIMITS, type LimitName } from './core/index.ts';
import { environmentNameOf, flagOf, KIND_TEXT, OPTIONS, type OptionName, START_FLAGS } from './options.ts';

/** Exit codes, as in sysexits.h where it has one. */
export const EXIT = {
  ok: 0,
  usage: 64,
  corrupt: 65,
  port: 69,
  internal: 70,
  dataDir: 73,
  journal: 74,
  locked: 75,
  config: 78,
  interrupted: 130,
} as const;

/** What each exit code means, for help and document. */
const EXIT_TEXT: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'stopped when asked to, or the command did its work',
  usage: 'an unknown command or flag, or a bad value on the command line or in the environment',
  corrupt: 'the journal is damaged, or written by a newer version; nothing was changed',
  port: 'a port is in use or may not be bound',
  internal: 'a mistake of the program (please report it), or stopping took too long',
  dataDir: 'the data directory cannot be read or written',
  journal: 'a write or sync of the journal failed while running; what was confirmed before is safe',
  locked: 'another process uses the data directory',
  config: 'the configuration file is wrong or cannot be read',
  interrupted: 'a second SIGTERM or SIGINT ended it at once',
};

const ARGUMENT: Readonly<Record<string, string>> = {
  dataDir: ' DIR',
  host: ' ADDRESS',
  mqttPort: ' PORT',
  amqpPort: ' PORT',
  httpPort: ' PORT',
  logLevel: ' LEVEL',
  allowedOrigins: ' ORIGINS',
  delayLevels: ' DELAYS',
  limits: ' NAME=VALUE',
};

const NAMES = Object.keys(OPTIONS) as OptionName[];
const fileOnly = (name: OptionName): boolean => 'fileOnly' in OPTIONS[name];

function shownDefault(name: OptionName): string {
  const value: unknown = OPTIONS[name].default;
  if (Array.isArray(value)) return value.join(',');
  return typeof value === 'object' ? '' : String(value);
}

function flagLines(): [string, string][] {
  const lines: [string, string][] = Object.entries(START_FLAGS).map(([flag, { argument, help }]) => [
    `--${flag} ${argument}`,
    help,
  ]);
  for (const name of NAMES) {
    if (fileOnly(name)) continue;
    const row = OPTIONS[name];
    const flag = row.kind === 'boolean' ? `--[no-]${flagOf(name)}` : `--${flagOf(name)}${ARGUMENT[name] ?? ''}`;
    const fallback = shownDefault(name);
    lines.push([flag, fallback === '' ? row.help : `${row.help} (default ${fallback})`]);
  }
  return lines;
}

function columns(rows: readonly [string, string][]): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => `  ${left.padEnd(width)}${right}\n`).join('');
}

/** The text of `--help`. */
export function helpText(): string {
  return `JunctionMQ: one broker for MQTT, AMQP, HTTP and WebSocket.

Usage:
${columns([
  ['junctionmq start [options]', 'run the broker'],
  ['junctionmq start --check-config', 'check options and configuration file, run nothing'],
  ['junctionmq inspect DIR [--verify]', 'show what is in a data directory; --verify reads and checks every byte'],
  ['junctionmq hash-password', 'read a password from standard input, print its hash for the users list'],
  ['junctionmq --version | --help', ''],
]).replace(/ +$/gm, '')}
Options of start (each also as an environment variable, and in the file; flag > environment > file > default):
${columns(flagLines())}
Environment: ${NAMES.filter((name) => !fileOnly(name))
    .map(environmentNameOf)
    .join(', ')}

Exit codes:
${columns(Object.entries(EXIT).map(([name, code]) => [String(code), EXIT_TEXT[name as keyof typeof EXIT]]))}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

const code = (text: string): string => (text === '' ? '' : `\`${text}\``);

/** The generated tables of docs/configuration.md, by the name between their markers. */
export function documentTables(): ReadonlyMap<string, string> {
  const options = NAMES.map((name) => [
    code(name),
    fileOnly(name) ? 'file only' : code(`--${flagOf(name)}`),
    fileOnly(name) ? '' : code(environmentNameOf(name)),
    KIND_TEXT[OPTIONS[name].kind].replace(/ \(.*/, ''),
    code(shownDefault(name)),
    OPTIONS[name].help,
  ]);
  const limits = (Object.keys(LIMITS) as LimitName[]).map((name) => [
    code(name),
    LIMITS[name][0].toLocaleString('en-US'),
    LIMITS[name][1],
  ]);
  const exits = Object.entries(EXIT).map(([name, value]) => [String(value), EXIT_TEXT[name as keyof typeof EXIT]]);
  return new Map([
    ['options', table(['key in the file', 'flag', 'environment', 'value', 'default', 'meaning'], options)],
    ['limits', table(['limit', 'default', 'meaning'], limits)],
    ['exit-codes', table(['code', 'meaning'], exits)],
  ]);
}
