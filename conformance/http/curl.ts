/** The quick start of docs/protocols/http.md, with curl. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Case, type ServerUnderTest, unique } from '../case.ts';

const run = promisify(execFile);
const ADMIN = ['-u', 'guest:guest'];
const JSON_TYPE = ['-H', 'content-type: application/json'];

/** What curl prints; it fails on an HTTP error. */
async function curl(server: ServerUnderTest, path: string, ...args: string[]): Promise<string> {
  const url = `http://${server.host}:${server.httpPort}${path}`;
  const { stdout } = await run('curl', [
    '--silent',
    '--show-error',
    '--fail-with-body',
    '--max-time',
    '15',
    ...args,
    url,
  ]);
  return stdout;
}

interface Leased {
  lease: string;
  messages: { payload: string; topic: string; redeliveries: number }[];
}

async function lease(server: ServerUnderTest, queue: string): Promise<Leased> {
  return JSON.parse(await curl(server, `/v1/queues/${queue}/lease?max=10&wait_ms=5000`, '-X', 'POST')) as Leased;
}

export const cases: Case[] = [
  {
    name: 'curl declares, binds, publishes to a topic, leases and acknowledges',
    needs: ['curl'],
    async run(server) {
      const queue = unique('temperatures');
      const place = unique('place');
      await curl(server, `/v1/queues/${queue}`, ...ADMIN, '-X', 'PUT');
      const binding = JSON.stringify({ source: 'amq.topic', queue, key: `sensors.${place}.*` });
      await curl(server, '/v1/bindings', ...ADMIN, '-X', 'POST', ...JSON_TYPE, '-d', binding);
      const sent = await curl(server, `/v1/topics/sensors/${place}/temp`, '-X', 'POST', '--data-binary', '21.5');
      assert.deepEqual(JSON.parse(sent), { routed: true });
      const leased = await lease(server, queue);
      assert.equal(leased.messages[0]?.payload, '21.5');
      assert.equal(leased.messages[0]?.topic, `sensors/${place}/temp`);
      const acked = await curl(server, `/v1/leases/${leased.lease}/ack`, '-X', 'POST');
      assert.deepEqual(JSON.parse(acked), { settled: 1, remaining: 0 });
      await curl(server, `/v1/queues/${queue}?if_empty=true`, ...ADMIN, '-X', 'DELETE');
    },
  },
  {
    name: 'what curl was told is published or acknowledged is so after kill -9',
    needs: ['curl'],
    async run(server) {
      const queue = unique('killed');
      await curl(server, `/v1/queues/${queue}`, ...ADMIN, '-X', 'PUT');
      for (const payload of ['1', '2', '3']) {
        await curl(server, `/v1/queues/${queue}/messages`, '-X', 'POST', '--data-binary', payload);
      }
      const before = await lease(server, queue);
      assert.deepEqual(
        before.messages.map((message) => message.payload),
        ['1', '2', '3'],
      );
      await curl(server, `/v1/leases/${before.lease}/ack?deliveries=2`, '-X', 'POST');
      await server.restart('SIGKILL');
      const after = await lease(server, queue);
      assert.deepEqual(
        after.messages.map((message) => message.payload),
        ['1', '3'],
      );
      await curl(server, `/v1/leases/${after.lease}/ack`, '-X', 'POST');
      await curl(server, `/v1/queues/${queue}?if_empty=true`, ...ADMIN, '-X', 'DELETE');
    },
  },
  {
    name: 'curl fetches a binary message to a file as it was sent',
    needs: ['curl'],
    async run(server) {
      const queue = unique('binary');
      await curl(server, `/v1/queues/${queue}`, ...ADMIN, '-X', 'PUT');
      const typed = ['-H', 'content-type: text/x-odd', '--data-binary', 'line one\nline two\n'];
      await curl(server, `/v1/queues/${queue}/messages`, '-X', 'POST', ...typed);
      const raw = ['-X', 'POST', '-i', '-H', 'accept: application/octet-stream'];
      const answer = await curl(server, `/v1/queues/${queue}/lease?wait_ms=5000`, ...raw);
      assert.match(answer, /\r\ncontent-type: text\/x-odd\r\n/i);
      assert.ok(answer.endsWith('\r\n\r\nline one\nline two\n'));
      const id = /\r\nx-lease: (\S+)\r\n/i.exec(answer)?.[1];
      await curl(server, `/v1/leases/${id}/ack`, '-X', 'POST');
      await curl(server, `/v1/queues/${queue}`, ...ADMIN, '-X', 'DELETE');
    },
  },
];
