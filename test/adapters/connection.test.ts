import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import t from 'tap';
import type { Connection } from '../../src/adapters/connection.ts';
import { listen } from '../../src/adapters/listener.ts';
import { limitsWith } from '../../src/core/index.ts';

interface Pair {
  server: Connection;
  socket: Socket;
  close(): Promise<void>;
}

async function connect(limits = limitsWith(), allowHalfOpen = false): Promise<Pair> {
  let accepted: (connection: Connection) => void = () => {};
  const arrival = new Promise<Connection>((resolve) => {
    accepted = resolve;
  });
  const listener = await listen({ host: '127.0.0.1', port: 0, limits, onConnection: (c) => accepted(c) });
  const socket = createConnection({ port: listener.port, host: '127.0.0.1', allowHalfOpen });
  await once(socket, 'connect');
  const server = await arrival;
  return {
    server,
    socket,
    close: async () => {
      socket.destroy();
      server.destroy();
      await listener.close();
    },
  };
}

const quiet = { onChunk(): void {}, onRoom(): void {}, onClosed(): void {} };

function put(connection: Connection, text: string): void {
  const at = connection.reserve(text.length);
  connection.slab.write(text, at, 'latin1');
}

function receive(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  return new Promise((resolve) => {
    socket.on('data', function take(chunk: Buffer) {
      chunks.push(chunk);
      size += chunk.length;
      if (size < count) return;
      socket.off('data', take);
      resolve(Buffer.concat(chunks));
    });
  });
}

t.test('frames of one turn arrive in order, slab, long range and slab again', async (t) => {
  const pair = await connect();
  pair.server.handlers = quiet;
  const long = Buffer.alloc(100_000, 'L');
  const short = Buffer.from('..short..');
  put(pair.server, 'head');
  pair.server.send(long, 0, long.length);
  pair.server.send(short, 2, 7);
  put(pair.server, 'tail');
  const expected = `head${long.toString()}shorttail`;
  t.equal((await receive(pair.socket, expected.length)).toString(), expected);
  t.equal(pair.server.bytesOut, expected.length);
  await pair.close();
});

t.test('more than one slab in a turn, and a frame larger than a slab', async (t) => {
  const pair = await connect();
  pair.server.handlers = quiet;
  let expected = '';
  for (let n = 0; n < 3_000; n++) {
    const frame = `frame ${n} ${'x'.repeat(n % 90)};`;
    expected += frame;
    put(pair.server, frame);
  }
  const large = 'y'.repeat(200_000);
  expected += large;
  put(pair.server, large);
  t.equal((await receive(pair.socket, expected.length)).toString(), expected);
  await pair.close();
});

t.test('unreserve takes back the end of the last frame', async (t) => {
  const pair = await connect();
  pair.server.handlers = quiet;
  const at = pair.server.reserve(10);
  pair.server.slab.write('abc', at, 'latin1');
  pair.server.unreserve(7);
  put(pair.server, 'def');
  t.equal((await receive(pair.socket, 6)).toString(), 'abcdef');
  await pair.close();
});

t.test('beforeFlush may still add output, and it goes out in the same flush', async (t) => {
  const pair = await connect();
  pair.server.handlers = quiet;
  let pending = 'late';
  pair.server.beforeFlush = () => {
    if (pending !== '') put(pair.server, pending);
    pending = '';
  };
  put(pair.server, 'early ');
  t.equal((await receive(pair.socket, 10)).toString(), 'early late');
  await pair.close();
});

t.test('a peer that does not read: not roomy, bounded, and onRoom once it reads', async (t) => {
  const limits = limitsWith({ connectionOutBytesHigh: 256 * 1024 });
  const pair = await connect(limits);
  const room = new Promise<void>((resolve) => {
    pair.server.handlers = { ...quiet, onRoom: resolve };
  });
  pair.socket.pause();
  const frame = 'z'.repeat(10_000);
  let sent = 0;
  // The kernel takes a few megabytes; a bounded loop with turns in between fills it.
  for (let turn = 0; turn < 5_000 && pair.server.roomy; turn++) {
    put(pair.server, frame);
    sent += frame.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.notOk(pair.server.roomy, 'output piles up');
  t.ok(pair.server.queuedBytes < 2 * limits.connectionOutBytesHigh, 'and is known in bytes');
  const all = receive(pair.socket, sent);
  pair.socket.resume();
  await room;
  t.equal((await all).length, sent, 'nothing was lost');
  await pair.close();
});

t.test('end sends what is queued first', async (t) => {
  const pair = await connect();
  pair.server.handlers = quiet;
  put(pair.server, 'last words');
  pair.server.end();
  t.equal((await receive(pair.socket, 10)).toString(), 'last words');
  await once(pair.socket, 'end');
  await pair.close();
});

t.test('onClosed comes once, and writing afterwards goes nowhere', async (t) => {
  const pair = await connect();
  let closes = 0;
  const closed = new Promise<void>((resolve) => {
    pair.server.handlers = {
      ...quiet,
      onClosed: () => {
        closes++;
        resolve();
      },
    };
  });
  pair.socket.destroy();
  await closed;
  put(pair.server, 'nobody hears this');
  pair.server.send(Buffer.alloc(50_000), 0, 50_000);
  await new Promise((resolve) => setImmediate(resolve));
  pair.server.destroy();
  t.equal(closes, 1);
  t.ok(pair.server.closed);
  await pair.close();
});
