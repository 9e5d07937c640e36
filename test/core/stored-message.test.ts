import t from 'tap';
import { Message, RoutingKey } from '../../src/core/message.ts';
import { provesItself, readStored, Template } from '../../src/core/stored-message.ts';
import { Prng } from '../../src/testing/prng.ts';

const SEED = 5;
const DUE_MS = 1_800_000_000_123;

function stored(change: Partial<Message>, body = 'a body of some length', at = 0): Buffer {
  const message = Object.assign(new Message(), change);
  message.bytes = Buffer.from(`gid${body}`);
  message.bodyStart = 3;
  message.bodyEnd = message.bytes.length;
  const template = new Template('exchange', new RoutingKey('a.key', 0x2e), 'user', 'client');
  const into = Buffer.alloc(at + template.lengthOf(message));
  template.write(message, 1_700_000_000_000, into, at);
  return into;
}

t.test('a delayed message proves itself, whatever else it has, wherever it lies', async (t) => {
  const changes = [{}, { expiresAtMs: DUE_MS + 1 }, { groupEnd: 3 }, { marks: Buffer.alloc(40, 7) }];
  for (const change of changes) {
    for (const body of ['', 'x', 'y'.repeat(1000)]) {
      for (const at of [0, 13]) {
        const bytes = stored({ deliverAtMs: DUE_MS, ...change }, body, at);
        t.ok(provesItself(bytes, at, bytes.length));
        const view = new Message();
        readStored(view, bytes, at, bytes.length);
        t.match(view, { deliverAtMs: DUE_MS, expiresAtMs: change.expiresAtMs ?? 0 });
        t.equal(bytes.toString('utf8', view.bodyStart, view.bodyEnd), body);
      }
    }
  }
});

t.test('one that has a bit turned, is cut or goes on does not', async (t) => {
  const bytes = stored({ deliverAtMs: DUE_MS, expiresAtMs: DUE_MS + 1, groupEnd: 3 });
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = Buffer.from(bytes);
    copy[bit >> 3]! ^= 1 << (bit & 7);
    if (provesItself(copy, 0, copy.length)) t.fail(`bit ${bit}`);
  }
  for (let end = 0; end < bytes.length; end++) if (provesItself(bytes, 0, end)) t.fail(`cut at ${end}`);
  t.notOk(provesItself(Buffer.concat([bytes, Buffer.alloc(1)]), 0, bytes.length + 1));
});

t.test(`neither does anything else (seed ${SEED})`, async (t) => {
  t.notOk(provesItself(stored({}), 0, stored({}).length), 'not delayed: without a checksum');
  const prng = new Prng(SEED);
  for (let round = 0; round < 20_000; round++) {
    const bytes = prng.bytes(prng.below(200));
    // Few names and properties, so that there is a chance to get to what would be the checksum.
    if (bytes.length > 16 && prng.chance(0.8)) bytes.fill(0, 3, 10);
    if (bytes.length > 60 && prng.chance(0.8)) bytes.set([5, 12], 24);
    if (provesItself(bytes, 0, bytes.length)) t.fail(bytes.toString('hex'));
  }
});

t.test('delayed messages of older versions have no checksum: they are read, and prove nothing', async (t) => {
  const bytes = stored({ deliverAtMs: DUE_MS });
  const view = new Message();
  readStored(view, bytes, 0, bytes.length);
  const { extStart, extEnd } = view;
  const old = Buffer.concat([
    bytes.subarray(0, extStart),
    Buffer.from([5, 8]),
    bytes.subarray(extStart + 2, extEnd - 4),
    bytes.subarray(extEnd),
  ]);
  old.writeUInt16LE(10, 10);
  readStored(view, old, 0, old.length);
  t.match(view, { deliverAtMs: DUE_MS });
  t.equal(old.toString('utf8', view.bodyStart, view.bodyEnd), 'a body of some length');
  t.notOk(provesItself(old, 0, old.length));
});
