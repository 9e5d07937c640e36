import t from 'tap';
import { CoreError, type HubValue, type Message } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { collect, connect, declare, type Fixture, newDisk, publishAll, start } from './fixture.ts';

/** Bodies are "shade:text"; the shade is a property. */
async function open(fixture: Fixture): Promise<{ decoded: () => number }> {
  let decoded = 0;
  const toHub = (message: Message) => {
    decoded++;
    const body = message.bytes.toString('utf8', message.bodyStart, message.bodyEnd);
    const shade: [string, HubValue] = ['shade', body.slice(0, body.indexOf(':'))];
    return { durable: true, annotations: new Map(), application: [shade] };
  };
  fixture.broker.registerFormat({ id: 1, name: 'test', toHub });
  await declare(fixture, 'q');
  return { decoded: () => decoded };
}

const publish = (fixture: Fixture, bodies: readonly string[]): Promise<void> => publishAll(fixture, 'q', bodies);

t.test('a consumer with a filter gets what passes, in order; the rest stays for others', async (t) => {
  const fixture = await start();
  await open(fixture);
  const client = connect(fixture);
  await publish(fixture, ['red:1', 'blue:2', 'red:3', 'green:4', 'blue:5']);
  const red = collect(client, 'q', { filter: "shade = 'red'" });
  const some = collect(client, 'q', { filter: "shade IN ('green', 'red')", priority: 1 });
  await fixture.settle();
  t.same(some.bodies, ['red:1', 'red:3', 'green:4'], 'the one of higher priority goes first');
  t.same(red.bodies, []);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2, unsettled: 3 });
  some.subscription.close();
  await fixture.settle();
  t.same(red.bodies, ['red:1', 'red:3']);
  const rest = collect(client, 'q');
  await fixture.settle();
  t.same(rest.bodies, ['blue:2', 'green:4', 'blue:5']);
  red.subscription.close();
  await fixture.settle();
  t.same(rest.bodies.slice(3), ['red:1', 'red:3']);
});

t.test(
  'a message is asked about once for all consumers with one filter, whatever else happens in the queue',
  async (t) => {
    const fixture = await start();
    const { decoded } = await open(fixture);
    const client = connect(fixture);
    await publish(fixture, ['blue:1', 'blue:2', 'blue:3', 'blue:4']);
    const red = collect(client, 'q', { filter: "shade = 'red'" });
    const more = collect(client, 'q', { filter: "shade = 'red'" });
    await fixture.settle();
    t.equal(decoded(), 4);
    const others = collect(client, 'q', { credit: 2 });
    await fixture.settle();
    await publish(fixture, ['red:5', 'blue:6']);
    t.equal(decoded(), 6);
    others.subscription.settle(1, 1, 'requeue');
    await fixture.settle();
    t.equal(decoded(), 7, 'what came back is looked at again');
    t.same([...red.bodies, ...more.bodies], ['red:5']);
  },
);

t.test('filters find their messages on disk too, across a restart', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const limits = {
    tailCacheBytesMax: 4096,
    batchBytesMax: 4096,
    readAheadBytesMax: 16 * 1024,
    segmentBytes: 64 * 1024,
  };
  const fixture = await start(limits, clock, disk);
  await open(fixture);
  const bodies = Array.from({ length: 3000 }, (_, n) => `${n % 100 === 99 ? 'red' : 'blue'}:${n}`.padEnd(60, '.'));
  await publish(fixture, bodies);
  await clock.drive(fixture.close());
  const again = await start(limits, clock, disk);
  await open(again);
  const client = connect(again);
  const red = collect(client, 'q', { filter: "shade = 'red'" });
  await again.clock.advance(2000);
  t.same(
    red.bodies,
    bodies.filter((body) => body.startsWith('red')),
  );
  const rest = collect(client, 'q', { credit: 10_000 });
  await again.clock.advance(2000);
  t.same(
    rest.bodies,
    bodies.filter((body) => body.startsWith('blue')),
  );
});

t.test('a single request with a filter ends when nothing passes', async (t) => {
  const fixture = await start();
  await open(fixture);
  await publish(fixture, ['blue:1', 'red:2', 'blue:3']);
  const { subscription, bodies } = collect(connect(fixture), 'q', { pull: true, credit: 5, filter: "shade = 'red'" });
  let drained = false;
  subscription.drain(() => {
    drained = true;
  });
  await fixture.settle();
  t.same(bodies, ['red:2']);
  t.ok(drained);
});

t.test('when the last filter goes, the queue hands out in order as before', async (t) => {
  const fixture = await start();
  await open(fixture);
  const client = connect(fixture);
  await publish(fixture, ['blue:1', 'red:2', 'blue:3', 'red:4', 'blue:5']);
  const plain = collect(client, 'q', { credit: 1 });
  const red = collect(client, 'q', { filter: "shade = 'red'", credit: 1 });
  await fixture.settle();
  red.subscription.close();
  plain.subscription.settle(1, 1, 'requeue');
  plain.subscription.credit(10);
  await fixture.settle();
  t.same(plain.bodies, ['blue:1', 'blue:1', 'red:2', 'blue:3', 'red:4', 'blue:5']);
});

t.test('a purge takes what nobody holds, and what comes back meanwhile stays', async (t) => {
  const fixture = await start();
  await open(fixture);
  const client = connect(fixture);
  await publish(fixture, ['blue:1', 'red:2', 'blue:3', 'red:4', 'blue:5']);
  const red = collect(client, 'q', { filter: "shade = 'red'" });
  await fixture.settle();
  const purged = fixture.broker.admin.purgeQueue('/', 'q');
  red.subscription.settle(1, 1, 'requeue');
  t.equal(await fixture.clock.drive(purged), 3);
  await fixture.settle();
  t.same(red.bodies, ['red:2', 'red:4', 'red:2']);
  red.subscription.close();
  const rest = collect(client, 'q');
  await fixture.settle();
  t.same(rest.bodies, ['red:2', 'red:4']);
});

t.test('a filter that makes no sense is refused, with column and reason', async (t) => {
  const fixture = await start();
  await open(fixture);
  const client = connect(fixture);
  const refused = (filter: string): CoreError => {
    try {
      collect(client, 'q', { filter });
    } catch (error) {
      if (error instanceof CoreError) return error;
    }
    throw new Error('not refused');
  };
  t.match(refused('weight > '), { code: 'invalid-argument', message: /filter, column \d+: / });
  t.match(refused(`a = '${'x'.repeat(9000)}'`), { code: 'limit-exceeded' });
  t.match(refused(`${'('.repeat(100)}a = 1${')'.repeat(100)}`), { code: 'limit-exceeded' });
  t.equal(fixture.broker.admin.queue('/', 'q')?.consumers, 0);
});
