/** Message groups and filters of consumers, through the client most Node programs use. */
import { once } from 'node:events';
import amqplib, { type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import t from 'tap';
import { withFacts } from '../../../src/adapters/amqp/v091/counts.ts';
import { Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import { fromHub, toHub } from '../../../src/adapters/amqp/v091/message.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
} from '../../../src/adapters/amqp/v091/properties.ts';
import type { DeliveryBatch } from '../../../src/core/index.ts';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}`);
t.teardown(() => connection.close());

/** A consumer that keeps what it gets; `got(n)` resolves once it has had `n`. */
async function consume(channel: ConfirmChannel, queue: string, tag: string, args: object = {}) {
  const messages: ConsumeMessage[] = [];
  let woken = (): void => {};
  const onMessage = (message: ConsumeMessage | null): void => {
    if (message !== null) messages.push(message);
    woken();
  };
  await channel.consume(queue, onMessage, { consumerTag: tag, arguments: args });
  const got = async (n: number): Promise<string[]> => {
    while (messages.length < n) await new Promise<void>((resolve) => (woken = () => resolve()));
    return messages.map(({ content }) => content.toString());
  };
  return { messages, got };
}

async function send(channel: ConfirmChannel, queue: string, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    const [group = '', , end] = text.split(/[: ]/);
    const headers = end === undefined ? { 'x-group-id': group } : { JMSXGroupID: group, JMSXGroupSeq: -1 };
    channel.sendToQueue(queue, Buffer.from(text), { persistent: true, headers });
  }
  await channel.waitForConfirms();
}

t.test('a group is one consumer at a time; the header x-group-first says when it is new', async (t) => {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('g', { arguments: { 'x-group-buckets': 64 } });
  const one = await consume(channel, 'g', 'one');
  const two = await consume(channel, 'g', 'two');
  await send(channel, 'g', 'a:1', 'b:1', 'a:2', 'b:2', 'a:3 end', 'a:4');
  t.same(await one.got(3), ['a:1', 'a:2', 'a:3 end']);
  t.same(await two.got(2), ['b:1', 'b:2']);
  t.same(
    [...one.messages, ...two.messages].map(({ properties }) => properties.headers?.['x-group-first'] === true),
    [true, false, false, true, false],
  );
  for (const message of one.messages) channel.ack(message);
  await Promise.race([one.got(4), two.got(3)]);
  const last = [...one.messages, ...two.messages].find(({ content }) => content.toString() === 'a:4');
  t.equal(last?.properties.headers?.['x-group-first'], true, 'the group had ended: it is somebody’s anew');
  await channel.close();
});

t.test('consumers with filters get what passes; the rest stays', async (t) => {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('f', { autoDelete: true });
  const eu = await consume(channel, 'f', 'eu', { 'x-filter': "region STARTSWITH 'eu-'" });
  const tagged = await consume(channel, 'f', 'tagged', { 'x-filter-tags': 'paid || refunded' });
  const put = (text: string, headers: object): void => void channel.sendToQueue('f', Buffer.from(text), { headers });
  put('1', { region: 'eu-west' });
  put('2', { region: 'us-east', TAGS: 'paid' });
  put('3', { region: 'us-east' });
  put('4', { region: 'eu-north' });
  await channel.waitForConfirms();
  t.same(await eu.got(2), ['1', '4']);
  t.same(await tagged.got(1), ['2']);
  t.equal((await channel.checkQueue('f')).messageCount, 1);
  const rest = await consume(channel, 'f', 'rest');
  t.same(await rest.got(1), ['3']);
  await channel.close();
});

const REFUSED: readonly (readonly [title: string, act: (channel: ConfirmChannel) => Promise<unknown>, text: RegExp])[] =
  [
    [
      'a group id of 60 KB: one of 1 MB does not fit a frame',
      async (channel) => {
        channel.sendToQueue('bad', Buffer.from('x'), { headers: { 'x-group-id': 'g'.repeat(60_000) } });
        await channel.waitForConfirms();
      },
      /a group id has more than 255 bytes/,
    ],
    [
      'a group id that is no text',
      async (channel) => {
        channel.sendToQueue('bad', Buffer.from('x'), { headers: { JMSXGroupID: 7 } });
        await channel.waitForConfirms();
      },
      /header JMSXGroupID must be text/,
    ],
    [
      'a filter that is none',
      (channel) => channel.consume('bad', () => {}, { arguments: { 'x-filter': 'a = ' } }),
      /filter, column \d+/,
    ],
    [
      'a filter that is no text',
      (channel) => channel.consume('bad', () => {}, { arguments: { 'x-filter-tags': 1 } }),
      /consumer argument 'x-filter-tags' must be text/,
    ],
    [
      'a filter that is a bomb',
      (channel) => channel.consume('bad', () => {}, { arguments: { 'x-filter': `${'NOT '.repeat(1900)} a` } }),
      /filterDepthMax|filterNodesMax|filterBytesMax/,
    ],
    [
      'too many buckets',
      (channel) => channel.assertQueue('many', { arguments: { 'x-group-buckets': 65_536 } }),
      /x-group-buckets must be a whole number from 0 to 65535/,
    ],
  ];

for (const [title, act, text] of REFUSED) {
  t.test(`${title}: 406, and nothing else is harmed`, async (t) => {
    const good = await connection.createConfirmChannel();
    await good.assertQueue('bad');
    await send(good, 'bad', 'a:1');
    const channel = await connection.createConfirmChannel();
    const closed = once(channel, 'error');
    act(channel).catch(() => {});
    const [error] = await closed;
    t.match(error, { code: 406, message: text });
    t.equal((await good.checkQueue('bad')).messageCount, 1);
    await good.deleteQueue('bad');
    await good.close();
  });
}

t.test('headers say which group a message is in; the application id does not, and is kept', async (t) => {
  const back = (properties: BasicProperties): BasicProperties => fromHub(toHub(properties, true));
  t.equal(toHub({ appId: 'app' }, true).groupId, undefined);
  t.match(toHub({ appId: 'app', headers: { 'x-group-id': 'g', 'x-group-seq': -1 } }, true), {
    groupId: 'g',
    groupSequence: -1,
  });
  t.match(back({ appId: 'app' }), { appId: 'app' });
  t.match(back({ appId: 'app', headers: { JMSXGroupID: 'g' } }), { appId: 'app', headers: { JMSXGroupID: 'g' } });
  t.same(back({ headers: { 'x-group-id': 'g' } }), { deliveryMode: 2, headers: { 'x-group-id': 'g' } });
  const foreign = { durable: true, annotations: new Map(), application: [], groupId: 'g', groupSequence: -1 };
  t.same(fromHub(foreign), { deliveryMode: 2, headers: { 'x-group-id': 'g', 'x-group-seq': -1 } });
});

t.test('facts of a delivery are added to its headers', async (t) => {
  const encoded = new Writer();
  encodeProperties(encoded.reset(), { deliveryMode: 2, headers: { own: 'x' } });
  const head = encoded.toBuffer();
  const facts = (batch: Partial<DeliveryBatch>): object => {
    const bytes = withFacts({ head, headStart: 0, headEnd: head.length }, batch as DeliveryBatch);
    return decodeProperties(bytes, 0, bytes.length).headers ?? {};
  };
  t.same({ ...facts({ redeliveries: 0, groupFirst: true }) }, { own: 'x', 'x-group-first': true });
  t.same(
    { ...facts({ redeliveries: 2, failures: 1, groupFirst: true }) },
    { own: 'x', 'x-acquired-count': 2, 'x-delivery-count': 1, 'x-group-first': true },
  );
});
