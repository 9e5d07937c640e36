/** Sealing of many partitions together. */
import t from 'tap';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { failure } from '../../../src/testing/sim-disk.ts';
import { durably, key, newDisk } from '../fixture.ts';
import { createTopic, detail, type Lab, lab, readAll, reopened, SMALL } from './support.ts';

const PARTITIONS = 12;

/** Append `count` messages to all partitions in turn, in batches of some. Answers what each has. */
async function appendInTurn(lab: Lab, count: number): Promise<string[][]> {
  const sent: string[][] = Array.from({ length: PARTITIONS }, () => []);
  const producer = lab.client.producer({});
  const address = producer.address('', key('t'));
  for (let n = 0; n < count; n++) {
    const body = `${n} ${'x'.repeat((n * 37) % 200)}`;
    const message = durably(body);
    message.partition = n % PARTITIONS;
    producer.publish(address, message, 0);
    (sent[n % PARTITIONS] as string[]).push(body);
    if (n % 20 === 19) await lab.clock.advance(2);
  }
  await lab.clock.advance(20);
  return sent;
}

t.test('partitions that share the journal are sealed in one reading of it', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  let readBytes = 0;
  const open = disk.open.bind(disk);
  disk.open = async (path, mode) => {
    const file = await open(path, mode);
    const read = file.read.bind(file);
    file.read = (into, start, end, position) => {
      if (path.startsWith('journal/')) readBytes += end - start;
      return read(into, start, end, position);
    };
    return file;
  };
  // Nothing is sealed until the limit is a lower one: then all of it waits.
  const limits = { ...SMALL, segmentBytes: 256 * 1024 };
  const one = await lab({ ...limits, topicSealBytes: 1024 * 1024 }, disk, clock);
  await createTopic(one, { partitions: PARTITIONS });
  const sent = await appendInTurn(one, 3000);
  await clock.drive(one.close());
  const again = await lab(limits, disk, clock);
  readBytes = 0;
  await clock.advance(5000);
  const details = sent.map((_, number) => detail(again, number));
  t.ok(
    details.every(({ files }) => files > 1),
    'every partition has files',
  );
  const bytes = details.reduce((sum, detail) => sum + detail.bytes, 0);
  t.ok(readBytes > bytes / 2 && readBytes < bytes * 3, `${readBytes} read for ${bytes}`);
  const after = await reopened(again, limits);
  for (const [number, bodies] of sent.entries()) {
    t.same((await readAll(again, number)).bodies, bodies);
    t.same((await readAll(after, number)).bodies, bodies, 'and after a restart');
  }
});

t.test('a partition that cannot be sealed does not hold the others up', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const one = await lab(SMALL, disk, clock);
  await createTopic(one, { partitions: PARTITIONS });
  const bad = 5;
  const id = one.internals.topology.vhosts.get('/')?.topics.get('t')?.partitions[bad]?.id;
  disk.options = {
    ...disk.options,
    fault: (operation, path) => {
      const isOurs = path.startsWith('topic/') && operation !== 'read';
      return isOurs && path.startsWith(`topic/${String(id).padStart(10, '0')}-`) ? failure('EIO', path) : undefined;
    },
  };
  const sent = await appendInTurn(one, 1500);
  await clock.advance(120_000);
  t.match(one.lines.join(), /cannot be sealed/);
  for (const [number, bodies] of sent.entries()) {
    t.equal(detail(one, number).files > 0, number !== bad, `partition ${number}`);
    t.same((await readAll(one, number)).bodies, bodies);
  }
  disk.options = { ...disk.options, fault: undefined };
  await clock.advance(30_000);
  t.ok(detail(one, bad).files > 0, 'it is tried again');
  t.same((await readAll(await reopened(one), bad)).bodies, sent[bad]);
});
