/** Start and stop order of the gateway, in process. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { connect as connectAmqp } from 'amqplib';
import t from 'tap';
import { mergeOptions } from '../src/options.ts';
import { BindError, type RunningServer, startServer } from '../src/server.ts';

const HOST = '127.0.0.1';

function start(
  dataDir: string,
  ports: Partial<Record<'mqttPort' | 'amqpPort' | 'httpPort', number>> = {},
): Promise<RunningServer> {
  const given = { dataDir, mqttPort: 0, amqpPort: 0, httpPort: 0, ...ports };
  return startServer({ options: mergeOptions([given]), log: () => {}, version: '0' });
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, HOST);
  const listening = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return listening;
}

t.test('while it stops, it is alive and not ready; afterwards nothing listens', async (t) => {
  const server = await start(t.testdir());
  t.teardown(() => server.close());
  const { mqtt, amqp, http } = server.ports;
  const status = async (path: string): Promise<number> => (await fetch(`http://${HOST}:${http}/health/${path}`)).status;
  t.same([await status('ready'), await status('live')], [200, 200]);
  // A client that does not answer the goodbye keeps the stop waiting for a moment.
  const connection = await connectAmqp(`amqp://guest:guest@${HOST}:${amqp}`);
  connection.on('error', () => {});
  (connection.connection as unknown as { stream: import('node:net').Socket }).stream.pause();
  const closed = server.close();
  t.same([await status('ready'), await status('live')], [503, 200]);
  t.equal(await isListening(mqtt), false, 'no new connections');
  t.equal(server.close(), closed, 'closing twice is closing once');
  await closed;
  t.same(await Promise.all([mqtt, amqp, http].map(isListening)), [false, false, false]);
});

t.test('a start that fails closes what it had opened, and the next one succeeds', async (t) => {
  const dataDir = t.testdir();
  const other = createServer().listen(0, HOST);
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as { port: number };
  for (const name of ['httpPort', 'mqttPort', 'amqpPort'] as const) {
    await t.rejects(start(dataDir, { [name]: port }), BindError, name);
  }
  const server = await start(dataDir);
  t.teardown(() => server.close());
  await t.rejects(start(dataDir), { code: 'data-dir-locked' });
  t.ok(await isListening(server.ports.mqtt), 'the one that has the data goes on');
});

t.test('the port it picked can be asked for again at once', async (t) => {
  const dataDir = t.testdir();
  const first = await start(dataDir);
  const { mqtt, amqp, http } = first.ports;
  await first.close();
  const second = await start(dataDir, { mqttPort: mqtt, amqpPort: amqp, httpPort: http });
  t.same(second.ports, first.ports);
  await second.close();
});
