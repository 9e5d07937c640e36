import t from 'tap';
import { dump } from '../../../src/testing/dump.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { bodyOf, connect, DURABLE, durably, type Fixture, newDisk, start } from '../fixture.ts';
import { drain, finish, prepare } from './support.ts';

const QUEUES: readonly (readonly [string, object])[] = [
  ['plain', {}],
  ['ranked', { 'x-max-priority': 9 }],
  ['timed', { 'x-message-ttl': 600_000 }],
  ['late', {}],
];

async function declareAll(fixture: Fixture): Promise<void> {
  const { admin } = fixture.broker;
  for (const [name, args] of QUEUES) {
    await fixture.clock.drive(admin.declareQueue('/', name, { ...DURABLE, arguments: args as never }));
  }
  await fixture.clock.drive(admin.topics.create('/', 'log', { partitions: 2 }));
}

/** Bodies in a partition of the topic. */
async function read(fixture: Fixture, partition: number): Promise<string[]> {
  const bodies: string[] = [];
  const client = connect(fixture);
  client.reader('log', partition, 0, {
    onRecords: (batch) => {
      while (batch.next()) bodies.push(bodyOf(batch.message));
    },
  });
  await fixture.settle();
  client.close();
  return bodies;
}

/** A half with a message to everything there is. */
function prepareAll(fixture: Fixture, id: string): void {
  const late = durably('late');
  late.deliverAtMs = fixture.clock.now() + 10_000;
  const ranked = durably('ranked');
  ranked.priority = 5;
  const logged = durably('logged');
  logged.partition = 1;
  const messages = [
    ['plain', 'plain'],
    ['ranked', ranked],
    ['timed', 'timed'],
    ['late', late],
    ['log', logged],
  ] as const;
  prepare(connect(fixture).producer({}), messages, { id });
}

for (const how of ['clean', 'kill', 'checkpoint, kill'] as const) {
  t.test(`a half to queues of every kind and a topic survives, before and after its commit (${how})`, async (t) => {
    const clock = new SimClock();
    const disk = newDisk(clock);
    let fixture = await start({}, clock, disk);
    const restart = async (): Promise<void> => {
      if (how.startsWith('checkpoint')) await clock.drive(fixture.internals.checkpointer.run());
      await fixture.settle();
      const before = dump(fixture.internals.topology);
      if (how === 'clean') await clock.drive(fixture.close());
      else disk.kill();
      clock.clear();
      fixture = await start({}, clock, disk);
      t.same(dump(fixture.internals.topology), before);
    };
    await declareAll(fixture);
    prepareAll(fixture, 'h1');
    prepareAll(fixture, 'h2');
    await restart();
    t.equal(await finish(fixture, connect(fixture), 'commit', 'h1'), 'done');
    await restart();
    t.equal(await finish(fixture, connect(fixture), 'commit', 'h1'), 'done', 'its end is remembered');
    t.equal(await finish(fixture, connect(fixture), 'rollback', 'h2'), 'done');
    await restart();
    t.equal(await finish(fixture, connect(fixture), 'commit', 'h2'), 'precondition-failed');
    t.same(fixture.broker.admin.halves.list('/'), []);
    for (const name of ['plain', 'ranked', 'timed']) t.same(await drain(fixture, name), [name]);
    t.same(await drain(fixture, 'late'), []);
    t.same(await read(fixture, 0), []);
    t.same(await read(fixture, 1), ['logged']);
    await clock.advance(11_000);
    t.same(await drain(fixture, 'late'), ['late']);
    await clock.drive(fixture.close());
  });
}

t.test('a virtual host that goes while a half of it is being read back takes the half along', async (t) => {
  const clock = new SimClock();
  const fixture = await start({ tailCacheBytesMax: 1024, batchBytesMax: 1024 }, clock, newDisk(clock));
  const { admin } = fixture.broker;
  await clock.drive(admin.createVhost('v'));
  await clock.drive(admin.declareQueue('v', 'a', DURABLE));
  const client = fixture.broker.client('v', { user: 'u', clientId: '', protocol: 'test', peer: '' }, {});
  const producer = client.producer({});
  prepare(producer, [['a', 'one']]);
  for (let n = 0; n < 20; n++) {
    prepare(producer, [['a', 'x'.repeat(500)]], { id: `other ${n}` });
    await fixture.settle();
  }
  let told: string | undefined;
  client.finishHalf('shop', 'h1', 'commit', (error) => {
    told = error?.code ?? 'done';
  });
  t.equal(told, undefined, 'it is being read');
  await clock.drive(admin.deleteVhost('v'));
  await fixture.settle();
  t.equal(told, 'not-found');
  t.equal(fixture.internals.engine.bodies.logged.count, 0);
  await clock.drive(fixture.close());
});
