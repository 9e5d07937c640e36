import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { PasswordAuthenticator } from '../src/auth.ts';
import { parseConfig, resolveOptions } from '../src/config-file.ts';
import { parseCommandLine } from '../src/options.ts';

const HASH = '$scrypt$15.8.3$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

const OUTSIDE = { address: '192.0.2.1', port: 1, loopback: false, tls: false };

t.test('a whole file', async (t) => {
  const text = `
dataDir: data
mqtt-port: 2883   # spelled as the flag
guest: false
allowedOrigins: [https://a.example]
users:
  - { name: ops, password: ${HASH}, administrator: true, vhosts: ['/', t] }
limits:
  sliceMs: 3
`;
  t.same(parseConfig(text, 'c.yaml'), {
    dataDir: 'data',
    mqttPort: 2883,
    guest: false,
    allowedOrigins: ['https://a.example'],
    users: [{ name: 'ops', password: HASH, administrator: true, vhosts: ['/', 't'] }],
    limits: { sliceMs: 3 },
  });
  t.same(parseConfig('', 'c.yaml'), {}, 'an empty file changes nothing');
  t.same(parseConfig('# only a comment\n', 'c.yaml'), {});
});

t.test('what is wrong is named with its line', async (t) => {
  const cases: [text: string, message: RegExp][] = [
    ['host: a\nmqqtPort: 1\n', /^c\.yaml:2: there is no option "mqqtPort"$/],
    ['host: a\n\nlimits:\n  sliceMs: 1\n  slizeMs: 2\n', /^c\.yaml:5: limits: there is no option "slizeMs"$/],
    ['mqttPort: 70000', /^c\.yaml:1: mqttPort must be <= 65535$/],
    ['host: a\nmqtt-port: 70000', /^c\.yaml:2: mqttPort must be <= 65535$/],
    ['mqttPort: "1883"', /^c\.yaml:1: mqttPort must be integer$/],
    ['\nlogLevel: loud', /^c\.yaml:2: logLevel must be one of .*info/],
    ['users:\n  - name: a\n    password: secret\n', /^c\.yaml:3: users\.0\.password must be a hash/],
    ['users:\n  - name: a\n', /^c\.yaml:2: users\.0 must have required property 'password'$/],
    [`users:\n  - { name: a, password: ${HASH}, admin: true }\n`, /^c\.yaml:2: users\.0: there is no option "admin"$/],
    ['- a\n- b\n', /^c\.yaml:1: a configuration file is a map/],
    ['just text', /a configuration file is a map/],
    ['host: a\nhost: b\n', /^c\.yaml:2: /],
    ['mqtt-port: 1\nmqttPort: 2\n', /mqttPort is given twice/],
    ['host: [a\nmqttPort: 1\n', /^c\.yaml:\d: /],
    ['limits: { sliceMs: -1 }', /^c\.yaml:1: limits\.sliceMs must be >= 1$/],
    ['__proto__: { guest: false }', /there is no option "__proto__"/],
  ];
  for (const [text, message] of cases) {
    t.throws(() => parseConfig(text, 'c.yaml'), { name: 'OptionError', inFile: true, message }, JSON.stringify(text));
  }
});

t.test('the file is found by flag or variable, and a missing one is an error', async (t) => {
  const folder = t.testdir({ 'a.yaml': 'host: from-a', 'b.yaml': 'host: from-b' });
  const a = parseCommandLine(['start', '--config', `${folder}/a.yaml`]);
  t.equal((await resolveOptions(a, { JUNCTION_CONFIG: `${folder}/b.yaml` })).host, 'from-a');
  t.equal((await resolveOptions(parseCommandLine(['start']), { JUNCTION_CONFIG: `${folder}/b.yaml` })).host, 'from-b');
  await t.rejects(resolveOptions(parseCommandLine(['start', '--config', `${folder}/c.yaml`]), {}), {
    name: 'OptionError',
    message: /cannot read the configuration file: ENOENT/,
  });
});

t.test('the example file and the one in the documentation are right', async (t) => {
  const example = fileURLToPath(new URL('../examples/junction.yaml', import.meta.url));
  const options = await resolveOptions(parseCommandLine(['start', '--config', example]), {});
  t.ok(await new PasswordAuthenticator(options).login('ops', 'ops-password', OUTSIDE), 'the hashes are what they say');
  const page = readFileSync(new URL('../docs/configuration.md', import.meta.url), 'utf8');
  const yaml = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  t.match(parseConfig(yaml, 'docs'), { host: '0.0.0.0', users: [{ name: 'sensors' }, { name: 'ops' }] });
});
