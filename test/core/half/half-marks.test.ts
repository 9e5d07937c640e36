/** Half messages that come to queues which remember ids or keep last values: before and after a crash. */
import t from 'tap';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { newDisk } from '../fixture.ts';
import { marked, type Scene, scene } from '../marks/support.ts';
import { drain, finish, prepare } from './support.ts';

for (const isLater of [false, true]) {
  const when = isLater ? 'after a kill' : 'at once';
  const restarted = async (open: Scene, clock: SimClock, disk: ReturnType<typeof newDisk>): Promise<Scene> => {
    await open.settle();
    if (!isLater) return open;
    disk.kill();
    clock.clear();
    return scene({}, clock, disk);
  };

  t.test(`an id that came with a half is known, and one that is known stays out (${when})`, async (t) => {
    const clock = new SimClock();
    const disk = newDisk(clock);
    let open = await scene({}, clock, disk);
    await open.declare('once', { 'x-dedup-window-ms': 60_000 });
    await open.declare('plain', {});
    open.publish('once', 'first', { id: 'a' });
    const messages = [
      ['once', marked('repeat', { id: 'a' })],
      ['once', marked('second', { id: 'b' })],
      ['plain', marked('other', { id: 'a' })],
    ] as const;
    prepare(open.producer, messages);
    await clock.advance(50_000);
    t.equal(await finish(open, open.client, 'commit'), 'done');
    t.equal(open.ready('once'), 2);
    t.equal(open.ready('plain'), 1);
    open = await restarted(open, clock, disk);
    // Long after it was prepared, but within the window since it came.
    await clock.advance(40_000);
    open.publish('once', 'repeat', { id: 'b' });
    open.publish('once', 'third', { id: 'c' });
    await open.settle();
    t.same(await drain(open, 'once'), ['first', 'second', 'third']);
    t.equal(open.internals.engine.bodies.logged.count, 1, 'the one in the plain queue');
    await clock.drive(open.close());
  });

  t.test(`a half takes the place of older values, and gives way to newer ones (${when})`, async (t) => {
    const clock = new SimClock();
    const disk = newDisk(clock);
    let open = await scene({}, clock, disk);
    await open.declare('prices', { 'x-last-value-key': 'symbol' });
    open.publish('prices', 'acme 1', { symbol: 'acme' });
    open.publish('prices', 'best 1', { symbol: 'best' });
    const messages = [
      ['prices', marked('acme 2', { symbol: 'acme' })],
      ['prices', marked('acme 3', { symbol: 'acme' })],
      ['prices', marked('core 1', { symbol: 'core' })],
    ] as const;
    prepare(open.producer, messages);
    await open.settle();
    t.equal(open.ready('prices'), 2, 'nothing is replaced before the commit');
    t.equal(await finish(open, open.client, 'commit'), 'done');
    t.equal(open.ready('prices'), 3);
    open = await restarted(open, clock, disk);
    open.publish('prices', 'core 2', { symbol: 'core' });
    await open.settle();
    t.same(await drain(open, 'prices'), ['best 1', 'acme 3', 'core 2']);
    await open.settle();
    t.equal(open.internals.engine.bodies.logged.count, 0);
    await clock.drive(open.close());
  });
}
