/** The contract between `run.ts` and the case files (see README.md in this folder). */

/** The one real server of a run: a separate process, `node dist/cli.js start` on a data directory of its own. */
export interface ServerUnderTest {
  /** Loopback address all ports are bound to. */
  readonly host: string;
  readonly mqttPort: number;
  readonly amqpPort: number;
  readonly httpPort: number;
  /** Stop the process with this signal and start it again on the same data and the same ports; resolves when it is ready. */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

export interface Case {
  /** Unique in its folder; a sentence that says what holds, with the rule's id where there is one: `... [MQTT-3.3.1-5]`. */
  readonly name: string;
  /** Commands that must be installed (`mosquitto_pub`, `python3`); without them the case is skipped, or fails with `--strict`. */
  readonly needs?: readonly string[];
  /** Milliseconds the case may take; 20,000 unless told. */
  readonly timeoutMs?: number;
  /** Reject (throw) = failed. Close every client you opened, also on failure; leave no queue of yours behind. */
  run(server: ServerUnderTest): Promise<void>;
}

/** What a case file exports: `export const cases: Case[]`. */
export interface CaseFile {
  readonly cases: readonly Case[];
}

let count = 0;
/** A name no other case uses: for queues, client ids, topics. */
export function unique(prefix: string): string {
  count += 1;
  return `${prefix}-${process.pid}-${count}`;
}
