/** `node aedes-server.mjs PORT`: a bare Aedes broker on loopback. Plain JavaScript, so that nothing but Aedes is loaded. */
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const broker = await Aedes.createBroker({ concurrency: 100_000, queueLimit: 100_000 });
createServer({ noDelay: true }, broker.handle).listen(Number(process.argv[2]), '127.0.0.1');
