import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, freePort, type Peer, programPath } from './peer.ts';

/** Mosquitto with its limits on queued and unacknowledged messages off, without persistence and without a log. */
export const mosquitto: Peer = {
  name: 'mosquitto',
  protocols: ['mqtt'],

  version() {
    const path = programPath('mosquitto');
    if (path === undefined) return undefined;
    const { stdout } = spawnSync(path, ['-h'], { encoding: 'utf8' });
    return /mosquitto version (\S+)/.exec(stdout)?.[1];
  },

  async start(folder) {
    const port = await freePort();
    const config = join(folder, 'mosquitto.conf');
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence false',
      'max_inflight_messages 0',
      'max_queued_messages 0',
      'log_dest none',
    ];
    // As root it would change to a user who may not read the folder.
    if (process.getuid?.() === 0) lines.push('user root');
    writeFileSync(config, `${lines.join('\n')}\n`);
    const child = new Child('mosquitto', programPath('mosquitto') as string, ['-c', config]);
    await child.listening(port);
    return { pid: child.pid, port: () => port, stop: () => child.stop() };
  },
};
