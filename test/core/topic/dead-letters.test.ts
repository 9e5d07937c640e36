/** Dead letters may go to topics. */
import t from 'tap';
import { dump } from '../../../src/testing/dump.ts';
import { bodyOf, declare, durably, key, text } from '../fixture.ts';
import { createTopic, detail, type Lab, lab, readAll, reopened } from './support.ts';

async function withQueue(one: Lab, args: { [name: string]: string }): Promise<void> {
  await declare(one, 'work', args);
}

/** Reject everything in the queue. */
async function rejectAll(one: Lab): Promise<void> {
  const subscription = one.client.subscribe(
    'work',
    { credit: 100 },
    {
      onDeliveries: (batch) => {
        while (batch.next());
      },
    },
  );
  await one.settle();
  subscription.settle(1, subscription.unsettled, 'discard');
  await one.settle();
  subscription.close();
}

t.test('what a queue gives up is kept in a topic, in order, also over restarts', async (t) => {
  const one = await lab();
  await createTopic(one);
  await withQueue(one, { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 't' });
  const producer = one.client.producer({});
  for (const body of ['a', 'b', 'c']) producer.publish(producer.address('', key('work')), durably(body), 0);
  producer.publish(producer.address('', key('t')), durably('straight'), 0);
  await rejectAll(one);
  t.same((await readAll(one)).bodies, ['straight', 'a', 'b', 'c']);
  t.match(one.broker.admin.queue('/', 'work'), { ready: 0, unsettled: 0, deadLettered: 3, dropped: 0 });
  const seen: number[] = [];
  one.client.reader('t', 0, 1, {
    onRecords: (batch) => {
      while (batch.next()) seen.push(one.broker.hub(batch.message).annotations.size);
    },
  });
  await one.settle();
  t.ok(seen.length === 3 && seen.every((size) => size > 0), 'with their death history');
  const state = dump(one.internals.topology);
  for (const checkpoint of [false, true]) {
    if (checkpoint) await one.clock.drive(one.internals.checkpointer.run());
    const again = await reopened(one);
    t.same(dump(again.internals.topology), state);
    t.same((await readAll(again)).bodies, ['straight', 'a', 'b', 'c']);
  }
});

t.test('they are sealed with the others; transient ones arrive too', async (t) => {
  const one = await lab();
  await createTopic(one);
  await one.clock.drive(
    one.broker.admin.bind(
      '/',
      'amq.fanout',
      { kind: 'topic', name: 't' },
      { text: '', separator: 46, levels: [], hidesDollar: false },
      {},
    ),
  );
  await withQueue(one, { 'x-dead-letter-exchange': 'amq.fanout' });
  const producer = one.client.producer({});
  const bodies = Array.from({ length: 60 }, (_, n) => `${n} ${'x'.repeat(200)}`);
  for (const [n, body] of bodies.entries()) {
    producer.publish(producer.address('', key('work')), n % 2 === 0 ? durably(body) : text(body), 0);
  }
  await rejectAll(one);
  await one.clock.advance(5000);
  t.equal(detail(one).end, 60);
  t.ok(detail(one).files > 0);
  t.same((await readAll(one)).bodies, bodies);
  t.same((await readAll(await reopened(one))).bodies.slice(0, 60), bodies);
  const found: string[] = [];
  one.client.reader('t', 0, 30, {
    onRecords: (batch) => {
      while (batch.next()) found.push(bodyOf(batch.message));
    },
  });
  await one.clock.advance(100);
  t.same(found, bodies.slice(30));
});
