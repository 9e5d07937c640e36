/**
 * The shell examples of the docs work as they are written: each page's, in their order, against a server of its own. What
 * a page takes for granted (a queue that its reader has) is made before.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mergeOptions } from '../../src/options.ts';
import { startServer } from '../../src/server.ts';

const ROOT = new URL('../../', import.meta.url);

const declare = (...queues: string[]): string =>
  queues.map((queue) => `curl -u guest:guest -X PUT localhost:15672/v1/queues/${queue}`).join('\n');
const publish = (queue: string): string => `curl -X POST localhost:15672/v1/queues/${queue}/messages -d something`;
const lease = (queue: string): string => `curl -X POST localhost:15672/v1/queues/${queue}/lease`;

/** Pages with examples, and what their readers have. */
const PAGES: readonly (readonly [page: string, prelude: string])[] = [
  [
    'README.md',
    `${declare('readings')}
     curl -u guest:guest localhost:15672/v1/bindings -H 'content-type: application/json' \
       -d '{"source":"amq.topic","queue":"readings","key":"sensors.#"}'`,
  ],
  ['docs/delay.md', ''],
  [
    'docs/filters.md',
    `curl -u guest:guest -X PUT localhost:15672/v1/exchanges/audit -H 'content-type: application/json' \
       -d '{"kind":"topic"}'`,
  ],
  ['docs/half-messages.md', declare('orders')],
  ['docs/message-groups.md', declare('orders')],
  ['docs/policies.md', declare('logs.web', 'work')],
  ['docs/queue-rules.md', ''],
  ['docs/redrive.md', declare('dead')],
  [
    'docs/topics.md',
    `curl -u guest:guest -X PUT localhost:15672/v1/streams/readings -H 'content-type: application/json' \
       -d '{"partitions":1}'`,
  ],
  ['docs/transactions.md', [declare('invoices', 'orders'), publish('orders'), lease('orders')].join('\n')],
  ['docs/protocols/http.md', ''],
];

/** Examples that call the HTTP API: blocks of shell, and indented commands. */
function examplesIn(page: string): string[] {
  const text = readFileSync(new URL(page, ROOT), 'utf8');
  const blocks = text.matchAll(/^```sh\n([\s\S]*?)^```$|^(?: {4}(?:curl |printf |[A-Z]+=).*\n(?: {4}.*\n)*)/gm);
  return [...blocks].map(([all, block]) => block ?? all).filter((block) => block.includes('curl'));
}

/** Where an example has a word in capitals, its reader puts what an answer had under that name. */
const PLACEHOLDERS = ['lease', 'member'];

/** Remember what an answer has under a name. */
const found = (name: string, folder: string): string =>
  `value=$(sed -nE 's/.*"${name}":"([^"]*).*/\\1/p' $answer); [ -n "$value" ] && echo "$value" > ${folder}/${name}`;

/** A `curl` that fails when the answer is an error, and fills in placeholders. @param real path of the real one */
const wrapper = (real: string, folder: string): string => `#!/bin/bash
args=("$@")
for name in ${PLACEHOLDERS.join(' ')}; do
  args=("\${args[@]//\${name^^}/$(cat ${folder}/$name 2> /dev/null)}")
done
answer=${folder}/answer
${real} -sS --fail-with-body --max-time 20 "\${args[@]}" > $answer
code=$?
cat $answer
${PLACEHOLDERS.map((name) => found(name, folder)).join('\n')}
exit $code
`;

const curl = spawnSync('sh', ['-c', 'command -v curl && command -v bash'], { encoding: 'utf8' }).stdout.split('\n');
const missing = curl.length < 3 ? 'needs curl and bash' : false;

for (const [page, prelude] of PAGES) {
  t.test(page, { skip: missing }, async (t) => {
    const examples = examplesIn(page);
    t.ok(examples.length > 0, 'there are examples');
    const folder = t.testdir();
    const path = join(folder, 'curl');
    writeFileSync(path, wrapper(curl[0] as string, folder));
    chmodSync(path, 0o755);
    const options = mergeOptions([{ dataDir: join(folder, 'data'), mqttPort: 0, amqpPort: 0, httpPort: 0 }]);
    const server = await startServer({ options, log: () => {}, version: '0' });
    t.teardown(() => server.close());
    const script = [prelude, ...examples].join('\n').replaceAll(':15672', `:${server.ports.http}`);
    const shell = spawn('bash', ['-ec', script], {
      cwd: folder,
      env: { PATH: `${folder}:${process.env['PATH']}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => shell.on('close', resolve));
    t.equal(code, 0, said.slice(-500));
  });
}
