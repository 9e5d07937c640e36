import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Child, freePort, type Peer } from './peer.ts';

/** Aedes, an MQTT broker on Node, with its in-memory persistence. */
export const aedes: Peer = {
  name: 'aedes',
  protocols: ['mqtt'],

  version() {
    try {
      const file = new URL('../../node_modules/aedes/package.json', import.meta.url);
      return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    } catch {
      return undefined;
    }
  },

  async start() {
    const port = await freePort();
    const script = fileURLToPath(new URL('aedes-server.mjs', import.meta.url));
    const child = new Child('aedes', process.execPath, [script, `${port}`]);
    await child.listening(port);
    return { pid: child.pid, port: () => port, stop: () => child.stop() };
  },
};
