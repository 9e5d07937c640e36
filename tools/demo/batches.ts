/** Sealed batches: what a producer has packed and compressed is kept byte for byte, and single messages for everybody else. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type IncomingHttpHeaders, request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { openChannel } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

const READINGS = 1_000;
const BATCHES = '/v1/streams/readings/partitions/0/batches';

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A request whose answer is left as it comes. */
function raw(gateway: Gateway, method: string, path: string, body?: Buffer): Promise<Answer> {
  const headers = {
    authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`,
    ...(body === undefined ? {} : { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }),
  };
  return new Promise((resolve, reject) => {
    const sent = request({ port: gateway.ports.http, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const answer = Buffer.concat(chunks);
        if ((response.statusCode ?? 500) < 300) resolve({ headers: response.headers, body: answer });
        else reject(new Error(`${method} ${path} answered ${response.statusCode}: ${answer}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

function zippedReadings(): { text: Buffer; zipped: Buffer } {
  const line = (n: number): string => JSON.stringify({ payload: `${20 + (n % 7)}.5`, group: `room ${n % 10}` });
  const text = Buffer.from(Array.from({ length: READINGS }, (_, n) => `${line(n)}\n`).join(''));
  return { text, zipped: gzipSync(text) };
}

export const batches: Feature = {
  name: 'batches',
  title: 'sealed batches: kept byte for byte, compressed, and read as single messages',
  async run(gateway) {
    const { text, zipped } = zippedReadings();
    const { id, epoch } = await gateway.post('/v1/producers', { name: 'logger' });
    const path = `${BATCHES}?producer=${id}&epoch=${epoch}&sequence=0`;
    await step('HTTP: a batch of 1,000 readings, compressed by its producer, goes into a stream', async () => {
      await gateway.put('/v1/streams/readings', { partitions: 1 });
      const { body } = await raw(gateway, 'POST', path, zipped);
      assert.deepEqual(JSON.parse(body.toString()), { partition: 0, offset: 0, count: READINGS });
      return `${text.length} bytes are ${zipped.length}; answered ${body}`;
    });
    await gateway.restart();
    await step('HTTP: the same bytes come back', async () => {
      const { headers, body } = await raw(gateway, 'GET', `${BATCHES}?from=first`);
      assert.equal(digest(body), digest(zipped));
      assert.deepEqual([headers['x-offset'], headers['x-count'], headers['x-sealed']], ['0', `${READINGS}`, 'true']);
      return `sha256 ${digest(body)}..., before and after the kill`;
    });
    await step('HTTP: the producer sends it again: taken once', async () => {
      const { body } = await raw(gateway, 'POST', path, zipped);
      const { partitions } = await gateway.get('/v1/streams/readings');
      const [{ durable_end: end }] = partitions as [{ durable_end: number }];
      assert.equal(end, READINGS);
      return `answered ${body}, the stream ends at ${end}`;
    });
    await step('AMQP: a consumer that knows nothing of batches begins in the middle', async () => {
      const { channel, connection } = await openChannel(gateway);
      await channel.prefetch(10);
      const inbox = new Inbox<string>();
      const args = { 'x-stream-offset': 500 };
      await channel.consume(
        'readings',
        (message) => {
          if (message === null) return;
          inbox.put(`${message.properties.headers?.['x-stream-offset']}: ${message.content}`);
          channel.ack(message);
        },
        { arguments: args },
      );
      const seen: string[] = [];
      while (seen.length < READINGS - 500) seen.push(await inbox.take());
      await connection.close();
      assert.deepEqual([seen[0], seen[499]], [`500: ${20 + (500 % 7)}.5`, `999: ${20 + (999 % 7)}.5`]);
      return `${seen[0]} ... ${seen.at(-1)}`;
    });
  },
};
