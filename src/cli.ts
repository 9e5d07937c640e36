#!/usr/bin/env node
/**
 * The command line: flags, environment and file -> options -> server. The only file that reads `process.*`, and the only
 * one that ends the process. Exit codes are those of sysexits.h; docs/configuration.md lists them.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { hashPassword, PasswordAuthenticator } from './auth.ts';
import { CoreError, type ErrorCode, SystemClock } from './core/index.ts';
import { inspect } from './core/journal/inspect.ts';
import { NodeDisk } from './core/journal/node-disk.ts';
import type { RecoveryRemedy } from './core/journal/recovery.ts';
import { EXIT, helpText } from './help.ts';
import type { ServerLog } from './log.ts';
import { type CommandLine, OptionError, type Options, parseCommandLine, unknownVariables } from './options.ts';
import type { RunningServer } from './server.ts';

const VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

const EXIT_OF_CORE_ERROR: Partial<Record<ErrorCode, number>> = {
  'data-dir-locked': EXIT.locked,
  'data-dir-unusable': EXIT.dataDir,
  'journal-corrupt': EXIT.corrupt,
  'journal-version': EXIT.corrupt,
  'journal-failed': EXIT.journal,
};

/** Which exit code an error of the start asks for. */
function exitCodeOf(error: unknown): number {
  if (error instanceof OptionError) return error.inFile ? EXIT.config : EXIT.usage;
  if (error instanceof Error && error.name === 'BindError') return EXIT.port;
  if (error instanceof CoreError) return EXIT_OF_CORE_ERROR[error.code] ?? EXIT.internal;
  return EXIT.internal;
}

/** One clear line on stderr, and the exit code. A stack only for our own mistakes. */
function complain(error: unknown): number {
  const code = exitCodeOf(error);
  const text = error instanceof Error ? (code === EXIT.internal ? error.stack : error.message) : String(error);
  process.stderr.write(`junctionmq: ${text}\n`);
  return code;
}

async function main(): Promise<number> {
  const line = parseCommandLine(process.argv.slice(2));
  if (line.help || (line.command === undefined && !line.version && !line.checkConfig)) {
    process.stdout.write(helpText());
    return line.help ? EXIT.ok : EXIT.usage;
  }
  if (line.version) {
    process.stdout.write(`${VERSION}\n`);
    return EXIT.ok;
  }
  const command = line.command ?? 'start';
  if (command !== 'inspect' && line.operands.length > 0) {
    throw new OptionError(`${command} takes no argument: ${JSON.stringify(line.operands[0])}`);
  }
  switch (command) {
    case 'start':
      return start(line);
    case 'inspect':
      return inspectDirectory(line);
    case 'hash-password':
      return printHash();
    default:
      throw new OptionError(`there is no command ${JSON.stringify(command)}; see --help`);
  }
}

const REMEDIES: readonly RecoveryRemedy[] = ['truncate-tail'];

function remedyOf(text: string | undefined): RecoveryRemedy | undefined {
  const remedy = REMEDIES.find((name) => name === text);
  if (text !== undefined && remedy === undefined) {
    throw new OptionError(`--recover takes ${REMEDIES.join(' or ')}, not ${JSON.stringify(text)}`);
  }
  return remedy;
}

async function start(line: CommandLine): Promise<number> {
  const remedy = remedyOf(line.recover);
  const { resolveOptions } = await import('./config-file.ts');
  const options = await resolveOptions(line, process.env);
  if (line.checkConfig) {
    new PasswordAuthenticator(options);
    process.stdout.write('configuration is valid\n');
    return EXIT.ok;
  }
  const { createLog } = await import('./log.ts');
  const log = createLog(options.logLevel);
  const unknown = unknownVariables(process.env);
  if (unknown.length > 0) log('warn', 'environment variables that are no option', { unknown });
  const dieOfBug = (error: unknown): void => {
    // State in memory can no longer be trusted. What was confirmed is on disk; the next start finds it there.
    log('fatal', 'internal error', { error: error instanceof Error ? error.stack : String(error) });
    process.exit(EXIT.internal);
  };
  process.on('uncaughtException', dieOfBug);
  process.on('unhandledRejection', dieOfBug);
  return serve(options, log, remedy);
}

/** Run until a signal or a failed journal ends it. */
async function serve(options: Options, log: ServerLog, remedy: RecoveryRemedy | undefined): Promise<number> {
  const asked = new AbortController();
  const stopAsked = stopSignal(log, asked);
  // Only now: the other commands, and every mistake in the options, answer without loading the broker.
  const { startServer } = await import('./server.ts');
  const server = await startServer({ options, log, version: VERSION, remedy });
  if (!asked.signal.aborted)
    log('info', 'ready', { ...server.ports, host: options.host, dataDir: options.dataDir, version: VERSION });
  const failure = await Promise.race([stopAsked, server.failed]);
  if (failure instanceof Error) {
    log('fatal', 'the journal failed; nothing more can become durable', { error: failure.message });
    process.stderr.write(`junctionmq: ${failure.message}\n`);
    return EXIT.journal;
  }
  return stop(server, options, log);
}

async function stop(server: RunningServer, options: Options, log: ServerLog): Promise<number> {
  const clock = new SystemClock();
  const late = clock.after(options.limits.stopMsMax, () => {
    log('error', 'stopping took too long', { stopMsMax: options.limits.stopMsMax });
    process.exit(EXIT.internal);
  });
  const failure = await Promise.race([server.close(), server.failed]);
  late.cancel();
  if (failure instanceof Error) {
    log('fatal', 'the journal failed while stopping', { error: failure.message });
    return EXIT.journal;
  }
  log('info', 'stopped');
  return EXIT.ok;
}

/** Resolves at the first SIGTERM or SIGINT; the second ends the process at once (what was confirmed is on disk). */
function stopSignal(log: ServerLog, asked: AbortController): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked.signal.aborted) process.exit(EXIT.interrupted);
      asked.abort();
      log('info', 'stopping', { signal });
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

async function inspectDirectory(line: CommandLine): Promise<number> {
  const [directory, extra] = line.operands;
  if (directory === undefined || extra !== undefined)
    throw new OptionError('inspect takes one argument: the data directory');
  const lines = inspect(new NodeDisk(directory), { verify: line.verify });
  for (;;) {
    const step = await lines.next();
    if (step.done === true) return step.value ? EXIT.ok : EXIT.corrupt;
    process.stdout.write(`${step.value}\n`);
  }
}

/** Read a password from the terminal (unseen) or from standard input, and print its hash. */
async function printHash(): Promise<number> {
  const terminal = process.stdin.isTTY === true;
  if (terminal) process.stderr.write('Password: ');
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  for await (const password of createInterface({ input: process.stdin, output: unseen, terminal })) {
    if (terminal) process.stderr.write('\n');
    if (password === '') break;
    process.stdout.write(`${await hashPassword(password)}\n`);
    return EXIT.ok;
  }
  throw new OptionError('hash-password reads a password from standard input, and there was none');
}

process.exitCode = await main().catch(complain);
// Sockets and timers of a failed start must not keep the process: its work is done.
process.exit();
