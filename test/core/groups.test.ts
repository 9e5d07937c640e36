import t from 'tap';
import { type Arguments, FLAG_DURABLE, FLAG_ENDS_GROUP, type Message } from '../../src/core/index.ts';
import { collect, connect, DURABLE, type Fixture, key, start, text } from './fixture.ts';

async function declare(fixture: Fixture, name: string, args: Arguments = {}): Promise<void> {
  await fixture.clock.drive(fixture.broker.admin.declareQueue('/', name, { ...DURABLE, arguments: args }));
}

/** A message whose body is `group:text`, in that group. */
function grouped(body: string, flags = 0): Message {
  const message = text(body, FLAG_DURABLE | flags);
  const end = body.indexOf(':');
  if (end <= 0) return message;
  message.groupStart = message.bodyStart;
  message.groupEnd = message.bodyStart + end;
  return message;
}

async function publish(fixture: Fixture, to: string, bodies: readonly string[]): Promise<void> {
  const producer = connect(fixture).producer({});
  const address = producer.address('', key(to));
  for (const body of bodies) producer.publish(address, grouped(body, body.endsWith('!') ? FLAG_ENDS_GROUP : 0), 0);
  await fixture.settle();
}

t.test('a group goes to one consumer, in order; what is in none to whoever has room', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 3 });
  const two = collect(client, 'q', { credit: 100 });
  await publish(fixture, 'q', ['a:1', 'b:1', 'a:2', 'b:2', 'a:3', ':x', 'a:4', 'b:3', ':y', 'a:5']);
  t.same(one.bodies, ['a:1', 'a:2', 'a:3']);
  t.same(two.bodies, ['b:1', 'b:2', ':x', 'b:3', ':y']);
  one.subscription.settle(1, 3, 'complete');
  await fixture.settle();
  t.same(two.bodies.length, 5, 'the group stays with its owner, also when nothing of it is out');
  one.subscription.credit(5);
  await fixture.settle();
  t.same(one.bodies, ['a:1', 'a:2', 'a:3', 'a:4', 'a:5']);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 7 });
});

t.test('a group goes on elsewhere only when nothing of it is in the hands of its owner', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2 });
  await publish(fixture, 'q', ['a:1', 'a:2', 'a:3']);
  const two = collect(client, 'q');
  one.subscription.cancel();
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(1, 1, 'requeue');
  await fixture.settle();
  t.same(two.bodies, ['a:1', 'a:3']);
  two.subscription.close();
  const three = collect(client, 'q');
  await fixture.settle();
  t.same(three.bodies, ['a:1', 'a:3']);
  t.same(three.redeliveries, [2, 1]);
});

t.test('the last message of a group lets go of it once everything is settled', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2 });
  await publish(fixture, 'q', ['a:1', 'a:2!', 'a:3', 'a:4']);
  const two = collect(client, 'q');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(1, 1, 'complete');
  await fixture.settle();
  t.same(two.bodies, ['a:3', 'a:4']);
});

t.test('what comes back goes out before later ones of its group', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const one = collect(connect(fixture), 'q', { credit: 3 });
  const two = collect(connect(fixture), 'q', { credit: 0 });
  await publish(fixture, 'q', ['a:1', 'a:2', 'a:3', 'a:4', 'a:5']);
  one.subscription.settle(1, 2, 'requeue');
  two.subscription.credit(10);
  one.subscription.credit(10);
  await fixture.settle();
  t.same(one.bodies, ['a:1', 'a:2', 'a:3', 'a:1', 'a:2', 'a:4', 'a:5']);
  t.same(two.bodies, []);
});
