import t from 'tap';
import { moveTo } from '../../src/core/moving.ts';
import type { Queue } from '../../src/core/queue/queue.ts';
import { Template } from '../../src/core/stored-message.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { bodyOf, connect, declare, durably, type Fixture, key, newDisk, start } from './fixture.ts';

const entityOf = (fixture: Fixture, name: string): Queue =>
  fixture.internals.topology.vhost('/').queues.get(name) as Queue;

function stored(body: string): Buffer {
  const template = new Template('', key('work'), '', '');
  const bytes = Buffer.alloc(template.lengthOf(durably(body)));
  template.write(durably(body), 0, bytes, 0);
  return bytes;
}

for (const entries of [3, 70_000]) {
  t.test(`a message that moves to ${entries} places is there after a crash, and nowhere else`, async (t) => {
    const clock = new SimClock();
    const disk = newDisk(clock);
    const first = await start({}, clock, disk);
    for (const name of ['work', 'many']) await declare(first, name);
    const producer = connect(first).producer({});
    producer.publish(producer.address('', key('work')), durably('a'), 0);
    await first.settle();
    // So many entries of one queue make the record that as many queues make.
    const logged = Array.from({ length: entries }, () => entityOf(first, 'many'));
    moveTo({ logged, transient: [], topics: [] }, stored('a'), entityOf(first, 'work'), 0);
    await clock.advance(100);
    disk.kill();
    clock.clear();
    const second = await start({}, clock, disk);
    t.equal(second.broker.admin.queue('/', 'work')?.ready, 0);
    t.equal(second.broker.admin.queue('/', 'many')?.ready, entries);
    const { logged: bodies } = second.internals.engine.bodies;
    t.equal(bodies.count, 1);
    const seen = new Set<string>();
    let count = 0;
    connect(second).subscribe(
      'many',
      { credit: entries, settled: true },
      {
        onDeliveries: (batch) => {
          while (batch.next()) {
            count++;
            seen.add(bodyOf(batch.message));
          }
        },
      },
    );
    await clock.advance(1000);
    t.same([count, [...seen], bodies.count], [entries, ['a'], 0]);
  });
}
