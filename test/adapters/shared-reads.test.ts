import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import t from 'tap';
import { readShared } from '../../src/adapters/shared-reads.ts';

interface Reading {
  client: Socket;
  /** The socket the server side uses. */
  socket: Socket;
  received: Buffer[];
}

async function serve(): Promise<{ server: Server; connect(): Promise<Reading> }> {
  const arrivals: ((reading: Omit<Reading, 'client'>) => void)[] = [];
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const received: Buffer[] = [];
    const socket = readShared(accepted, (bytes) => received.push(Buffer.from(bytes)));
    arrivals.shift()?.({ socket, received });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    server,
    connect: async () => {
      const arrival = new Promise<Omit<Reading, 'client'>>((resolve) => arrivals.push(resolve));
      const client = createConnection({ port, host: '127.0.0.1' });
      await once(client, 'connect');
      return { client, ...(await arrival) };
    },
  };
}

const size = (chunks: readonly Buffer[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setImmediate(resolve));
}

t.test('many sockets share one buffer and each gets its own bytes', async (t) => {
  const { server, connect } = await serve();
  const readings = await Promise.all(Array.from({ length: 20 }, connect));
  const sent = readings.map((_, n) => Buffer.alloc(300_000, `client ${n} says `));
  for (const [n, { client }] of readings.entries()) client.write(sent[n] as Buffer);
  await until(() => readings.every(({ received }) => size(received) === 300_000));
  for (const [n, { received }] of readings.entries())
    t.ok(Buffer.concat(received).equals(sent[n] as Buffer), `socket ${n}`);
  for (const { client } of readings) client.destroy();
  server.close();
  await once(server, 'close');
});

t.test('a paused socket reads nothing until it is resumed', async (t) => {
  const { server, connect } = await serve();
  const { client, socket, received } = await connect();
  client.write('one');
  await until(() => size(received) === 3);
  socket.pause();
  client.write('two');
  // Another connection's round trip shows that the loop has turned with the bytes waiting.
  const other = await connect();
  other.client.write('x');
  await until(() => size(other.received) === 1);
  t.equal(size(received), 3);
  socket.resume();
  await until(() => size(received) === 6);
  t.equal(Buffer.concat(received).toString(), 'onetwo');
  client.destroy();
  other.client.destroy();
  server.close();
});

t.test('both directions, the end of the peer, and a server that closes', async (t) => {
  const { server, connect } = await serve();
  const { client, socket } = await connect();
  socket.write('hello');
  const [hello] = (await once(client, 'data')) as [Buffer];
  t.equal(hello.toString(), 'hello');
  const ended = once(socket, 'end');
  const closed = once(socket, 'close');
  client.end();
  await ended;
  socket.end();
  await closed;
  server.close();
  await once(server, 'close');
  t.ok(socket.destroyed);
});
