/** The command line as a contract: the real program, its exit codes, its one clear line on stderr. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { EXIT } from '../src/help.ts';
import { startServer } from './crash/server-process.ts';
import { spawnProgram } from './program.ts';

const ANY_PORT = ['--mqtt-port', '0', '--amqp-port', '0', '--http-port', '0'];

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface RunOptions {
  environment?: Readonly<Record<string, string>>;
  input?: string;
  cwd?: string;
}

async function collect(child: ChildProcess): Promise<Run> {
  const run: Run = { code: null, stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    run.stdout += part;
  });
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    run.stderr += part;
  });
  [run.code] = (await once(child, 'close')) as [number | null];
  return run;
}

async function run(args: readonly string[], { environment = {}, input, cwd }: RunOptions = {}): Promise<Run> {
  const { PATH = '' } = process.env;
  const child = spawnProgram(args, {
    env: { PATH, ...environment },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(input ?? '');
  return collect(child);
}

/** One line, and nothing of a stack. */
const ONE_LINE = /^junctionmq: [^\n]+\n$/;

t.test('--help, --version, no command', async (t) => {
  const help = await run(['--help']);
  t.equal(help.code, EXIT.ok);
  for (const word of ['start', 'inspect', 'hash-password', '--mqtt-port', '--data-dir', 'JUNCTION_HTTP_PORT']) {
    t.match(help.stdout, word);
  }
  t.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  t.equal((await run([])).code, EXIT.usage);
});

t.test('bad options end with one line and their code', async (t) => {
  const folder = t.testdir({
    'bad.yaml': 'host: x\nmqqtPort: 1\n',
    'user.yaml': 'users: [{ name: a, password: "$scrypt$x" }]\n',
  });
  const cases: [args: string[], code: number, text: RegExp][] = [
    [['start', '--mqtt-port', 'x'], EXIT.usage, /--mqtt-port/],
    [['start', '--nonsense'], EXIT.usage, /--nonsense/],
    [['stop'], EXIT.usage, /no command "stop"/],
    [['start', 'here'], EXIT.usage, /takes no argument/],
    [['start', '--recover', 'magic'], EXIT.usage, /--recover takes truncate-tail/],
    [['inspect'], EXIT.usage, /inspect takes one argument/],
    [['start', '--config', `${folder}/bad.yaml`], EXIT.config, /bad\.yaml:2: there is no option "mqqtPort"/],
    [['start', '--config', `${folder}/none.yaml`], EXIT.config, /cannot read/],
    [['start', '--check-config', '--config', `${folder}/user.yaml`], EXIT.config, /user "a"/],
  ];
  const runs = await Promise.all(cases.map(([args]) => run(args, { cwd: folder })));
  for (const [index, [args, code, text]] of cases.entries()) {
    const { code: actual, stderr } = runs[index] as Run;
    t.equal(actual, code, args.join(' '));
    t.match(stderr, ONE_LINE);
    t.match(stderr, text);
  }
  t.same(readdirSync(folder).sort(), ['bad.yaml', 'user.yaml'], 'nothing was made');
});

t.test('--check-config says that all is well and starts nothing', async (t) => {
  const folder = t.testdir({ 'good.yaml': 'mqtt-port: 1\nlimits:\n  sliceMs: 3\n' });
  const { code, stdout } = await run(['start', '--check-config'], {
    cwd: folder,
    environment: { JUNCTION_CONFIG: `${folder}/good.yaml` },
  });
  t.equal(code, EXIT.ok);
  t.equal(stdout, 'configuration is valid\n');
  t.same(readdirSync(folder), ['good.yaml']);
});

t.test('hash-password prints a hash that start takes', async (t) => {
  const { code, stdout } = await run(['hash-password'], { input: 'secret\n' });
  t.equal(code, EXIT.ok);
  const folder = t.testdir({ 'c.yaml': `users:\n  - { name: a, password: ${stdout.trim()} }\n` });
  t.equal((await run(['start', '--check-config', '--config', `${folder}/c.yaml`])).code, EXIT.ok);
  t.equal((await run(['hash-password'])).code, EXIT.usage, 'nothing to hash');
});

t.test('start, ready, SIGTERM, exit 0; and again on the same data', async (t) => {
  const dataDir = join(t.testdir(), 'made', 'by', 'start');
  for (const round of [1, 2]) {
    const server = await startServer(dataDir);
    const { mqtt, amqp, http } = server.ports;
    t.equal(new Set([mqtt, amqp, http]).size, 3, 'three ports');
    const ready = await fetch(`http://127.0.0.1:${http}/health/ready`);
    const live = await fetch(`http://127.0.0.1:${http}/health/live`);
    t.same([ready.status, live.status], [200, 200]);
    const line = server
      .output()
      .split('\n')
      .find((text) => text.includes('"msg":"ready"'));
    t.match(JSON.parse(line ?? '{}'), { msg: 'ready', mqtt, amqp, http });
    t.equal(await server.stop(), EXIT.ok, `round ${round}`);
    await t.rejects(fetch(`http://127.0.0.1:${http}/health/live`), 'nothing listens any more');
  }
});

t.test('a port in use', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as { port: number };
  const folder = t.testdir();
  const flags = ['--http-port', '--mqtt-port', '--amqp-port'];
  const runs = await Promise.all(
    flags.map((flag, index) => {
      const dataDir = join(folder, String(index));
      return run(['start', '--data-dir', dataDir, ...ANY_PORT, '--log-level', 'silent', flag, String(port)]);
    }),
  );
  for (const [index, flag] of flags.entries()) {
    const { code, stderr } = runs[index] as Run;
    t.equal(code, EXIT.port, flag);
    t.equal(stderr, `junctionmq: port ${port} on 127.0.0.1 is in use; choose another with ${flag}\n`);
  }
  const server = await startServer(join(folder, '2'));
  t.equal(await server.stop(), EXIT.ok, 'nothing was damaged');
});

t.test('a data directory another process has, or that cannot be one', async (t) => {
  const folder = t.testdir({ file: 'not a folder', data: {} });
  const server = await startServer(join(folder, 'data'));
  t.teardown(() => server.kill());
  const second = await run(['start', '--data-dir', join(folder, 'data'), ...ANY_PORT, '--log-level', 'silent']);
  t.equal(second.code, EXIT.locked);
  t.match(second.stderr, ONE_LINE);
  t.equal((await fetch(`http://127.0.0.1:${server.ports.http}/health/ready`)).status, 200, 'the first goes on');

  const file = await run(['start', '--data-dir', join(folder, 'file'), ...ANY_PORT, '--log-level', 'silent']);
  t.equal(file.code, EXIT.dataDir);
  t.match(file.stderr, ONE_LINE);
});

t.test(
  'a data directory that may not be written',
  { skip: process.getuid?.() === 0 && 'root may write anywhere' },
  async (t) => {
    const folder = t.testdir({ data: {} });
    chmodSync(join(folder, 'data'), 0o500);
    t.teardown(() => chmodSync(join(folder, 'data'), 0o700));
    const { code, stderr } = await run([
      'start',
      '--data-dir',
      join(folder, 'data'),
      ...ANY_PORT,
      '--log-level',
      'silent',
    ]);
    t.equal(code, EXIT.dataDir);
    t.match(stderr, ONE_LINE);
  },
);

t.test('kill -9 leaves the directory free for the next', async (t) => {
  const dataDir = t.testdir();
  await (await startServer(dataDir)).kill();
  const server = await startServer(dataDir);
  const inspected = await run(['inspect', dataDir, '--verify']);
  t.equal(inspected.code, EXIT.ok, inspected.stderr);
  t.not(inspected.stdout, '', 'inspect works while the server runs');
  t.equal(await server.stop(), EXIT.ok);
});

t.test('a failed write of the journal ends the process; what was confirmed before is there afterwards', async (t) => {
  const dataDir = t.testdir();
  const { PATH = '' } = process.env;
  // No file of this process may grow beyond 256 blocks of 512 bytes: the third message cannot be written (EFBIG, as the
  // signal that comes with it is ignored).
  const args = ['start', '--data-dir', dataDir, ...ANY_PORT];
  const prelude = "trap '' XFSZ && ulimit -f 256";
  const child = spawnProgram(args, { env: { PATH }, stdio: ['ignore', 'pipe', 'pipe'] }, prelude);
  const ended = collect(child);
  const http = await new Promise<number>((resolve) => {
    child.stdout?.on('data', (text: string) => {
      const match = /"http":(\d+).*"msg":"ready"/.exec(text);
      if (match !== null) resolve(Number(match[1]));
    });
  });
  const headers = { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}` };
  await fetch(`http://127.0.0.1:${http}/v1/queues/q`, { method: 'PUT', headers });
  let confirmed = 0;
  for (let n = 0; n < 5; n++) {
    const publish = { method: 'POST', body: new Uint8Array(50_000) };
    const response = await fetch(`http://127.0.0.1:${http}/v1/queues/q/messages`, publish).catch(() => undefined);
    if (response?.ok !== true) break;
    confirmed += 1;
  }
  t.equal(confirmed, 2);
  const { code, stdout, stderr } = await ended;
  t.equal(code, EXIT.journal);
  t.match(stderr, ONE_LINE);
  t.match(stdout, /"level":60.*"msg":"the journal failed/);
  const inspected = await run(['inspect', dataDir]);
  t.equal(inspected.code, EXIT.ok, 'a torn tail is no damage');
  t.match(inspected.stdout, /torn/);
  const server = await startServer(dataDir);
  t.teardown(() => server.kill());
  const queue = await fetch(`http://127.0.0.1:${server.ports.http}/v1/queues/q`, { headers });
  t.match(await queue.json(), { ready: 2 });
});

t.test('a reader of the log that goes away does no harm', async (t) => {
  const dataDir = t.testdir();
  const { PATH = '' } = process.env;
  const args = ['start', '--data-dir', dataDir, ...ANY_PORT];
  const child = spawnProgram(args, { env: { PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  // The log has nobody to read it any more.
  child.stdout?.destroy();
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const [code] = await closed;
  t.equal(code, EXIT.ok);
});
