/** Every check of `npm run check` on a sample that is right and on samples that are not. */
import t from 'tap';
import { ERRORS } from '../../src/core/index.ts';
import { documentTables } from '../../src/help.ts';
import type { Check } from '../../tools/checks/check.ts';
import { errorMaps, errorTable, links, optionTables, titles, withTables } from '../../tools/checks/docs.ts';
import { deadExports, deadFiles, importDirection, importsOf, outsideWorld } from '../../tools/checks/imports.ts';
import { coreWords, fileLength, leftovers } from '../../tools/checks/text.ts';

type Files = Record<string, string>;

/** The complaints as `path:line`. */
function run(check: Check, files: Files): string[] {
  return check.run(new Map(Object.entries(files))).map(({ path, line }) => `${path}:${line}`);
}

const from = (path: string): string => `import { x } from '${path}';\n`;

t.test('imports are found in every form', async (t) => {
  const text = `import a from 'a';\nimport {\n  b,\n  type C,\n} from './b.ts';\nimport './c.ts';\nexport * from '../d.ts';\nconst e = await import('./e.ts');\n// import f from 'f'\n`;
  t.same(importsOf('src/x/y.ts', text), [
    { line: 1, target: 'a' },
    { line: 5, target: 'src/x/b.ts' },
    { line: 6, target: 'src/x/c.ts' },
    { line: 7, target: 'src/d.ts' },
    { line: 8, target: 'src/x/e.ts' },
  ]);
});

t.test('import-direction', async (t) => {
  const right: Files = {
    'src/cli.ts': from('./server.ts') + from('node:fs'),
    'src/server.ts': from('./adapters/mqtt/adapter.ts') + from('./core/start.ts'),
    'src/adapters/mqtt/adapter.ts': from('./session.ts') + from('../connection.ts') + from('../../core/index.ts'),
    'src/adapters/connection.ts': from('../core/index.ts') + from('node:net'),
    'src/core/broker.ts': from('./queue/queue.ts') + from('node:assert'),
    'src/core/journal/node-disk.ts': from('node:fs'),
    'src/testing/sim-disk.ts': from('../core/disk.ts'),
  };
  t.same(run(importDirection, right), []);
  const wrong: [path: string, target: string][] = [
    ['src/adapters/ws/index.ts', '../mqtt/session.ts'],
    ['src/adapters/ws/index.ts', '../../core/broker.ts'],
    ['src/adapters/ws/index.ts', '../../server.ts'],
    ['src/adapters/ws/index.ts', '../../options.ts'],
    ['src/adapters/auth.ts', './ws/index.ts'],
    ['src/core/broker.ts', '../adapters/auth.ts'],
    ['src/core/broker.ts', 'node:fs'],
    ['src/core/broker.ts', 'node:net'],
    ['src/core/broker.ts', 'ws'],
    ['src/core/journal/writer.ts', 'node:fs/promises'],
    ['src/core/broker.ts', '../testing/prng.ts'],
    ['src/server.ts', './cli.ts'],
    ['src/server.ts', './testing/prng.ts'],
    ['src/options.ts', './core/broker.ts'],
    ['src/options.ts', './adapters/mqtt/adapter.ts'],
  ];
  for (const [path, target] of wrong) {
    t.same(run(importDirection, { [path]: `\n${from(target)}` }), [`${path}:2`], `${path} imports ${target}`);
  }
});

t.test('outside-world', async (t) => {
  const text = 'a();\nconst now = Date.now();\nprocess.exit(1);\n';
  t.same(run(outsideWorld, { 'src/core/broker.ts': text }), ['src/core/broker.ts:3', 'src/core/broker.ts:2']);
  t.same(run(outsideWorld, { 'src/cli.ts': text, 'tools/check.ts': text }), []);
  t.same(run(outsideWorld, { 'src/server.ts': text }), ['src/server.ts:3'], 'only cli.ts reads process.*');
  const comment = '/** Not Date.now(),\n * nor process.exit. */\n// setTimeout\n';
  t.same(run(outsideWorld, { 'src/core/broker.ts': comment }), [], 'comments may speak of it');
});

t.test('dead-files and dead-exports', async (t) => {
  const files: Files = {
    'src/cli.ts': from('./a.ts'),
    'src/a.ts': 'export function x() {}\nexport const y = 1;\nexport interface OnlyHere {}\n',
    'src/b.ts': 'export const x = 1;\n',
    'src/testing/c.ts': 'export const z = 1;\n',
  };
  t.same(run(deadFiles, files), ['src/b.ts:0']);
  t.same(run(deadExports, files), ['src/a.ts:2'], 'x is used; types and test helpers do not count');
});

t.test('file-length', async (t) => {
  t.same(run(fileLength, { 'src/a.ts': 'x\n'.repeat(500), 'docs/a.md': 'x\n'.repeat(900) }), []);
  t.same(run(fileLength, { 'test/a.test.ts': 'x\n'.repeat(501) }), ['test/a.test.ts:0']);
});

t.test('core-words', async (t) => {
  for (const word of ['MQTT', 'amqp', 'http', 'WebSocket', 'rabbit', 'mqttTopic']) {
    t.same(run(coreWords, { 'src/core/a.ts': `\n/** ${word} */\n` }), ['src/core/a.ts:2'], word);
  }
  const right = {
    'src/core/a.ts': "'amq.topic' // see https://example.org, rows, throws\n",
    'src/adapters/a.ts': 'MQTT',
  };
  t.same(run(coreWords, right), []);
});

t.test('leftovers', async (t) => {
  // Put together here, so that the check does not find this file.
  const samples: [path: string, text: string][] = [
    ['src/a.ts', `// ${'TO'}DO later`],
    ['src/a.ts', `// ${'FIX'}ME`],
    ['bench/a.ts', `throw new Error('not imple${'mented'}')`],
    ['test/a.test.ts', `t.test.sk${'ip'}('x')`],
    ['test/a.test.ts', `t.on${'ly'}('x')`],
    ['src/a.ts', 'console.log(1)'],
    ['docs/a.md', `see /ro${'ot'}/x`],
    ['.ci/run', `cd /wo${'rk'}/main`],
    ['tools/a.mjs', `'/tm${'p'}/x'`],
  ];
  for (const [path, text] of samples) t.same(run(leftovers, { [path]: `\n${text}\n` }), [`${path}:2`], text);
  t.same(run(leftovers, { 'tools/a.ts': "console.log('ok', network/x)", 'docs/a.md': 'to do' }), []);
});

t.test('option-tables', async (t) => {
  const markers = [...documentTables().keys()].map((name) => `<!-- ${name} -->\n<!-- /${name} -->\n`).join('\n');
  const page = withTables(markers);
  t.same(run(optionTables, { 'docs/configuration.md': page }), []);
  t.match(page, /\| `mqttPort` \| `--mqtt-port` \| `JUNCTION_MQTT_PORT` \| .* \| `1883` \|/);
  t.match(page, /\| `segmentBytes` \| 67,108,864 \|/);
  const path = 'docs/configuration.md';
  t.same(run(optionTables, { [path]: page.replace('`1883`', '`1884`') }), [`${path}:0`], 'a wrong default');
  t.same(run(optionTables, { [path]: page.replace('<!-- limits -->', '') }), [`${path}:0`], 'a table is gone');
  t.ok(run(optionTables, {}).length > 0, 'the page is gone');
});

t.test('error-table and error-maps', async (t) => {
  const rows = Object.entries(ERRORS).map(([code, { severity, text }]) => `| \`${code}\` | ${severity} | ${text} |\n`);
  const path = 'docs/errors.md';
  t.same(run(errorTable, { [path]: rows.join('') }), []);
  t.same(run(errorTable, { [path]: rows.slice(1).join('') }), [`${path}:0`], 'a code without a row');
  t.same(run(errorTable, { [path]: `${rows.join('')}| \`no-such-code\` | reply | x |\n` }), [
    `${path}:${rows.length + 1}`,
  ]);
  const other = rows.join('').replace('| `in-use` | channel', '| `in-use` | fatal');
  t.same(run(errorTable, { [path]: other }).length, 1, 'another severity');
  t.same(run(errorTable, {}), [`${path}:0`]);

  const map = Object.keys(ERRORS).map((code) => `  '${code}': 1,\n`);
  t.same(run(errorMaps, { 'src/adapters/x/errors.ts': map.join('') }), []);
  t.same(run(errorMaps, { 'src/adapters/x/v1/errors.ts': map.slice(1).join('') }), ['src/adapters/x/v1/errors.ts:0']);
  const words = { 'src/adapters/x/errors.ts': '/** Everything\n * else closes the connection. */' };
  t.same(run(errorMaps, words), [], 'what is not named may be put in words');
});

t.test('titles and links', async (t) => {
  const page = '# One\n\n```sh\n# a comment\n```\n[x](docs/b.md#part) [y](https://example.org) [z](docs)\n';
  const files = { 'README.md': page, 'docs/b.md': '# B\n' };
  t.same(run(titles, files), []);
  t.same(run(links, files), []);
  t.same(run(titles, { 'a.md': 'text\n', 'b.md': '# One\n\n# Two\n' }), ['a.md:0', 'b.md:3']);
  t.same(run(links, { 'docs/a.md': '# A\n[x](docs/a.md) [y](../gone.md)\n' }), ['docs/a.md:2', 'docs/a.md:2']);
});
