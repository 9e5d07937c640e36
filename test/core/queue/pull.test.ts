/** Subscriptions that take messages on request, and the end of what there is for them. */
import t from 'tap';
import type { DeliveryBatch } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { failure, type SimDisk } from '../../../src/testing/sim-disk.ts';
import {
  bodyOf,
  collect,
  connect,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  start,
  TRANSIENT,
  text,
} from '../fixture.ts';

async function queueWith(count: number, settings = TRANSIENT): Promise<{ fixture: Fixture; put(body: string): void }> {
  const fixture = await start();
  const client = connect(fixture);
  await fixture.clock.drive(fixture.broker.admin.declareQueue('/', 'q', settings));
  const producer = client.producer({});
  const make = settings.durable ? durably : text;
  const put = (body: string): void => void producer.publish(producer.address('', key('q')), make(body), 0);
  for (let n = 0; n < count; n++) put(String(n));
  await fixture.settle();
  return { fixture, put };
}

/** Drain, and note it in the bodies taken. */
function drain({ subscription, bodies }: ReturnType<typeof collect>): void {
  subscription.drain(() => bodies.push('end'));
}

t.test('a pull takes as much as it has credit for, before all consumers, and is none itself', async (t) => {
  const { fixture, put } = await queueWith(4);
  const { admin } = fixture.broker;
  const puller = connect(fixture);
  const pull = collect(puller, 'q', { pull: true, credit: 0 });
  await fixture.settle();
  t.same(pull.bodies, []);
  t.match(admin.queue('/', 'q'), { ready: 4, consumers: 0 });
  pull.subscription.credit(2);
  const consumer = collect(puller, 'q', { exclusive: true, priority: 100 });
  await fixture.settle();
  t.same(
    [pull.bodies, consumer.bodies],
    [
      ['0', '1'],
      ['2', '3'],
    ],
  );
  t.match(admin.queue('/', 'q'), { unsettled: 4, consumers: 1 });
  put('4');
  await fixture.settle();
  t.same([pull.bodies.length, consumer.bodies.length], [2, 3], 'it asked for no more');
  t.throws(() => collect(puller, 'q', { pull: true }), { code: 'in-use' }, 'exclusive means nobody else');
  consumer.subscription.close();
  await fixture.clock.drive(admin.deleteQueue('/', 'q', { ifUnused: true }));
  t.equal(pull.ended, 'not-found', 'it is told all the same');
});

t.test('the end of a pull does not end an auto-delete queue', async (t) => {
  const { fixture } = await queueWith(3, { ...TRANSIENT, autoDelete: true });
  const client = connect(fixture);
  const pull = collect(client, 'q', { pull: true, credit: 1 });
  await fixture.settle();
  pull.subscription.close();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 3 });
  collect(client, 'q').subscription.close();
  t.equal(fixture.broker.admin.queue('/', 'q'), undefined);
});

t.test('drain: never at once; when the credit is used, the queue empty, or the subscription over', async (t) => {
  const { fixture, put } = await queueWith(3);
  const client = connect(fixture);
  const pull = collect(client, 'q', { pull: true, credit: 2 });
  drain(pull);
  t.same(pull.bodies, []);
  await fixture.settle();
  t.same(pull.bodies, ['0', '1', 'end']);
  pull.subscription.credit(5);
  drain(pull);
  await fixture.settle();
  t.same(pull.bodies.slice(3), ['2', 'end']);
  put('3');
  await fixture.settle();
  t.equal(pull.bodies.length, 5, 'a drain takes the rest of the credit away');
  drain(pull);
  drain(pull);
  await fixture.settle();
  t.same(pull.bodies.slice(5), ['end', 'end'], 'also without credit, once for each call');
  const consumer = collect(client, 'q', { credit: Number.POSITIVE_INFINITY });
  drain(consumer);
  drain(pull);
  pull.subscription.close();
  drain(pull);
  t.equal(pull.bodies.length, 7);
  await fixture.settle();
  t.same(pull.bodies.slice(7), ['end', 'end']);
  t.same(consumer.bodies, ['0', '1', '2', '3', 'end'], 'consumers drain too');
});

t.test('drain waits for one that left its batch unfinished, and ends when its credit is taken away', async (t) => {
  const { fixture } = await queueWith(5);
  const seen: string[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    if (batch.next()) seen.push(bodyOf(batch.message));
  };
  const subscription = connect(fixture).subscribe('q', { credit: 4, pull: true }, { onDeliveries });
  subscription.drain(() => seen.push('end'));
  await fixture.settle();
  t.same(seen, ['0']);
  subscription.resume();
  await fixture.settle();
  t.same(seen, ['0', '1']);
  subscription.setCredit(0);
  await fixture.settle();
  t.same(seen, ['0', '1', 'end']);
});

t.test('drain includes what was published before it and is not durable yet', async (t) => {
  const clock = new SimClock();
  const fixture = await start({}, clock, newDisk(clock));
  const client = connect(fixture);
  await declare(fixture, 'q');
  const producer = client.producer({});
  producer.publish(producer.address('', key('q')), durably('a'), 0);
  const pull = collect(client, 'q', { pull: true, credit: 10 });
  drain(pull);
  await fixture.settle();
  t.same(pull.bodies, ['a', 'end']);
});

const SMALL = {
  segmentBytes: 64 * 1024,
  batchBytesMax: 8 * 1024,
  tailCacheBytesMax: 16 * 1024,
  readAheadBytesMax: 8192,
};

/** A broker that was started on a disk which holds 200 messages of 500 bytes in `q`. */
async function restarted(fault?: SimDisk['options']['fault']): Promise<{ fixture: Fixture; disk: SimDisk }> {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start(SMALL, clock, disk);
  await declare(first, 'q');
  const producer = connect(first).producer({});
  for (let n = 0; n < 200; n++) {
    producer.publish(producer.address('', key('q')), durably(`${n} ${'x'.repeat(500)}`), 0);
  }
  await first.settle();
  await clock.drive(first.close());
  const again = new SimClock();
  const copy = disk.clone({ clock: again, latencyMsMax: 1 });
  const fixture = await start(SMALL, again, copy);
  copy.options = { ...copy.options, fault };
  return { fixture, disk: copy };
}

t.test('drain waits for messages that come from disk, and reads no more of them than are asked for', async (t) => {
  const { fixture, disk } = await restarted();
  const client = connect(fixture);
  const ask = async (credit: number): Promise<string[]> => {
    const pull = collect(client, 'q', { pull: true, credit });
    drain(pull);
    await fixture.settle();
    pull.subscription.settle(1, Math.max(1, pull.bodies.length - 1), 'complete');
    pull.subscription.close();
    return pull.bodies.map((body) => body.split(' ')[0] as string);
  };
  const reads = disk.operations;
  t.same(await ask(1), ['0', 'end']);
  t.ok(disk.operations - reads <= 2, `${disk.operations - reads} operations of the disk`);
  t.same(await ask(60), [...Array.from({ length: 60 }, (_, n) => String(n + 1)), 'end'], 'over several windows');
  t.same((await ask(1000)).slice(-2), ['199', 'end']);
  t.equal(fixture.internals.engine.readAheadBytes, 0, 'windows are given back');
});

t.test('drain ends when a message cannot be read', async (t) => {
  const { fixture, disk } = await restarted((operation) =>
    operation === 'read' ? failure('EIO', 'simulated') : undefined,
  );
  const pull = collect(connect(fixture), 'q', { pull: true, credit: 3 });
  drain(pull);
  await fixture.settle();
  t.same(pull.bodies, ['end']);
  disk.options = { ...disk.options, fault: undefined };
  await fixture.clock.advance(10_000);
  pull.subscription.credit(1);
  drain(pull);
  await fixture.settle();
  t.same(
    pull.bodies.map((body) => body.split(' ')[0]),
    ['end', '0', 'end'],
    'and goes on when it can',
  );
});
