import t from 'tap';
import { LIMITS } from '../src/core/index.ts';
import { helpText } from '../src/help.ts';
import {
  environmentNameOf,
  flagOf,
  mergeOptions,
  OPTIONS,
  OptionError,
  type OptionName,
  parseCommandLine,
  parseEnvironment,
  unknownVariables,
} from '../src/options.ts';

const NAMES = Object.keys(OPTIONS) as OptionName[];

t.test('with nothing given, everything is as the table says', async (t) => {
  const options = mergeOptions([]);
  t.equal(options.host, '127.0.0.1');
  t.same([options.mqttPort, options.amqpPort, options.httpPort], [1883, 5672, 15672]);
  t.equal(options.dataDir, './junction-data');
  t.equal(options.logLevel, 'info');
  t.equal(options.guest, true);
  t.equal(options.limits.segmentBytes, LIMITS.segmentBytes[0]);
});

t.test('a flag wins over the environment, the environment over the file, the file over the default', async (t) => {
  const file = { mqttPort: 1, amqpPort: 1, httpPort: 1, limits: { sliceMs: 1, diskCheckMs: 1 } };
  const environment = parseEnvironment({
    JUNCTION_AMQP_PORT: '2',
    JUNCTION_HTTP_PORT: '2',
    JUNCTION_LIMITS: 'diskCheckMs=2, leaseMsMax=2',
  });
  const { given } = parseCommandLine([
    'start',
    '--http-port',
    '3',
    '--limit',
    'leaseMsMax=3',
    '--limit=tailCacheBytesMax=3',
  ]);
  const options = mergeOptions([file, environment, given]);
  t.same([options.mqttPort, options.amqpPort, options.httpPort], [1, 2, 3]);
  const { sliceMs, diskCheckMs, leaseMsMax, tailCacheBytesMax } = options.limits;
  t.same([sliceMs, diskCheckMs, leaseMsMax, tailCacheBytesMax], [1, 2, 3, 3], 'limits are merged one by one');
});

t.test('every option but the file-only ones has a flag, a variable, and a line of help', async (t) => {
  const help = helpText();
  const samples: Record<string, string> = {
    text: 'x',
    port: '0',
    boolean: 'false',
    level: 'warn',
    texts: 'https://a.example',
    delays: '1s,250ms,2h',
    limits: 'sliceMs=4',
  };
  for (const name of NAMES) {
    if ('fileOnly' in OPTIONS[name]) continue;
    const { kind } = OPTIONS[name];
    const sample = samples[kind] as string;
    const flag = kind === 'boolean' ? [`--no-${flagOf(name)}`] : [`--${flagOf(name)}`, sample];
    const fromFlag = parseCommandLine(['start', ...flag]).given[name];
    const fromVariable = parseEnvironment({ [environmentNameOf(name)]: sample })[name];
    t.not(fromFlag, undefined, `${name} as a flag`);
    t.same(fromVariable, fromFlag, `${name} means the same as flag and variable`);
    t.ok(help.includes(flagOf(name)) && help.includes(environmentNameOf(name)), `${name} is in the help`);
  }
});

t.test('a bad option is refused with one line that names it', async (t) => {
  const cases: [args: string[], text: RegExp][] = [
    [['start', '--mqtt-prot', '1'], /--mqtt-prot/],
    [['start', '--mqtt-port', '65536'], /--mqtt-port must be a number from 0 to 65535, not "65536"/],
    [['start', '--mqtt-port', '1e3'], /--mqtt-port/],
    [['start', '--mqtt-port=-1'], /--mqtt-port/],
    [['start', '--http-port'], /--http-port/],
    [['start', '--log-level', 'loud'], /--log-level must be a log level .*info.*"loud"/],
    [['start', '--host', ''], /--host/],
    [['start', '--limit', 'nothingMax=1'], /no limit named "nothingMax"/],
    [['start', '--limit', '__proto__=1'], /no limit named "__proto__"/],
    [['start', '--limit', 'sliceMs=fast'], /sliceMs must be a whole number from 1 to 2147483647, not "fast"/],
    [['start', '--limit', 'sliceMs=0'], /sliceMs must be a whole number from 1/],
    [['start', '--limit', 'checkpointMs=2147483648'], /checkpointMs must be/],
    [['start', '--limit', 'sliceMs'], /no limit named "sliceMs"/],
    [['start', '--users', 'x'], /--users/],
  ];
  for (const [args, text] of cases) {
    t.throws(() => parseCommandLine(args), { name: 'OptionError', message: text, inFile: false }, args.join(' '));
    t.throws(() => parseCommandLine(args), { message: /^[^\n]*$/ }, 'one line');
  }
  t.throws(() => parseEnvironment({ JUNCTION_GUEST: 'yes' }), OptionError, 'booleans are true or false');
});

t.test('unknown variables are reported, not refused: container platforms set some of that prefix', async (t) => {
  const environment = { JUNCTION_PORT: 'tcp://10.0.0.1', JUNCTION_CONFIG: 'x', JUNCTION_HOST: '::1', PATH: '/bin' };
  t.same(unknownVariables(environment), ['JUNCTION_PORT']);
  t.same(parseEnvironment(environment), { host: '::1' });
});

t.test('the command and its operands', async (t) => {
  const line = parseCommandLine(['inspect', 'some/dir', '--verify']);
  t.match(line, { command: 'inspect', operands: ['some/dir'], verify: true, help: false });
  t.match(parseCommandLine(['start', '--recover', 'x', '--check-config']), { recover: 'x', checkConfig: true });
  t.match(parseCommandLine(['-h']), { help: true, command: undefined });
});
