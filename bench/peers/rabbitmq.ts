import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, freePort, type Peer, programPath } from './peer.ts';

/** RabbitMQ as it comes, without plugins, as a node of its own: own name, folder, cookie and port mapper. */
export const rabbitmq: Peer = {
  name: 'rabbitmq',
  protocols: ['amqp'],

  version() {
    const path = serverPath();
    return path === undefined ? undefined : /rabbitmq_server-([\d.]+)/.exec(path)?.[1];
  },

  async start(folder) {
    const [port, distribution, mapperPort] = [await freePort(), await freePort(), await freePort()];
    const mapper = new Child('epmd', programPath('epmd') as string, [
      '-address',
      '127.0.0.1',
      '-port',
      `${mapperPort}`,
    ]);
    await mapper.listening(mapperPort);
    const plugins = join(folder, 'plugins');
    writeFileSync(plugins, '[].\n');
    const config = join(folder, 'rabbitmq.conf');
    // Memory and disk alarms would compare with the whole machine; the runs are far below.
    writeFileSync(
      config,
      `listeners.tcp.1 = 127.0.0.1:${port}\nvm_memory_high_watermark.relative = 0.8\nlog.file = false\n`,
    );
    const child = new Child('rabbitmq', serverPath() as string, [], {
      env: {
        PATH: process.env['PATH'],
        LANG: 'C.UTF-8',
        HOME: folder,
        RABBITMQ_NODENAME: `junction-bench-${process.pid}@localhost`,
        RABBITMQ_DIST_PORT: `${distribution}`,
        RABBITMQ_MNESIA_BASE: join(folder, 'data'),
        RABBITMQ_LOG_BASE: join(folder, 'log'),
        RABBITMQ_CONFIG_FILE: config,
        RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'advanced.config'),
        RABBITMQ_CONF_ENV_FILE: join(folder, 'env.conf'),
        RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
        RABBITMQ_PID_FILE: join(folder, 'pid'),
        ERL_EPMD_ADDRESS: '127.0.0.1',
        ERL_EPMD_PORT: `${mapperPort}`,
        // The script then becomes the Erlang machine instead of waiting for it.
        RUNNING_UNDER_SYSTEMD: 'true',
      },
    });
    const stop = async () => {
      await child.stop();
      await mapper.stop();
    };
    try {
      await child.listening(port);
    } catch (error) {
      await stop();
      throw error;
    }
    return { pid: machinePid(child.pid), port: () => port, stop };
  },
};

/** The script itself, behind the links of the package; the wrapper in PATH would change the user. */
function serverPath(): string | undefined {
  const lib = '/usr/lib/rabbitmq/bin/rabbitmq-server';
  try {
    return realpathSync(lib);
  } catch {
    return undefined;
  }
}

/** The process that runs the Erlang machine: the child itself or one below it. */
function machinePid(pid: number): number {
  if (/beam/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))) return pid;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean);
    for (const child of children) return machinePid(Number(child));
  }
  return pid;
}
