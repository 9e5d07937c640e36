/**
 * What one checkpoint costs a broker with many objects and few messages: the one step in which the state is taken, and the
 * longest time the event loop was held up while it was written.
 *
 *     node --import=tsx bench/micro/state.ts [--queues 100000] [--bindings 200000] [--retained 100000]
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { FLAG_DURABLE, FLAG_RETAIN, limitsWith, Message, RoutingKey, SystemClock } from '../../src/core/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { MemoryJournal, memoryRecovery } from '../../src/testing/memory-journal.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

const { values } = parseArgs({
  options: {
    queues: { type: 'string', default: '100000' },
    bindings: { type: 'string', default: '200000' },
    retained: { type: 'string', default: '100000' },
  },
});
const [queues, bindings, retained] = [Number(values.queues), Number(values.bindings), Number(values.retained)];
const SLASH = 0x2f;
const clock = new SystemClock();
const options = { disk: new SimDisk({ seed: 1 }), clock, limits: limitsWith(), log: () => {} };
const { broker, internals } = await startBroker(options, memoryRecovery(clock));
const client = broker.client('/', { user: 'bench', clientId: '', protocol: 'bench', peer: '' }, {});
const settings = { durable: true, autoDelete: false, exclusive: false, arguments: {} };
for (let n = 0; n < queues; n++) void broker.admin.declareQueue('/', `queue-${n}`, settings);
for (let n = 0; n < bindings; n++) {
  const text = `building/${n % 1000}/room/${n}`;
  const pattern = { text, separator: SLASH, levels: text.split('/'), hidesDollar: true };
  void broker.admin.bind('/', 'amq.topic', { kind: 'queue', name: `queue-${n % queues}` }, pattern, {});
}
const producer = client.producer({});
const message = new Message();
message.flags = FLAG_RETAIN | FLAG_DURABLE;
message.bytes = Buffer.alloc(20);
message.bodyEnd = message.bytes.length;
for (let n = 0; n < retained; n++) {
  producer.publish(producer.address('amq.topic', new RoutingKey(`device/${n % 100}/${n}`, SLASH)), message, 0);
}
await internals.engine.whenDurable();

const take = MemoryJournal.prototype.checkpoint;
for (let round = 1; round <= 5; round++) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let step = 0;
  let started = 0;
  const journal = internals.engine.journal;
  const seal = journal.seal;
  journal.seal = () => {
    started = performance.now();
    return seal.call(journal);
  };
  journal.checkpoint = (batch, state) => {
    step = performance.now() - started;
    return take.call(journal as MemoryJournal, batch, state);
  };
  delay.enable();
  const begin = performance.now();
  await internals.checkpointer.run();
  const whole = performance.now() - begin;
  delay.disable();
  const longest = (delay.max / 1e6).toFixed(1);
  console.log(`taken in ${step.toFixed(1)} ms, written in ${whole.toFixed(0)} ms, longest step ${longest} ms`);
}
client.close();
process.exit();
