/**
 * The model test of live rules and redrives: messages go to queues whose rules change all the time, die there, are redriven, and
 * the broker crashes in between. The model is a ledger: a message that was confirmed is in exactly one queue, until somebody
 * completes it. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Client,
  CONFIRM,
  FLAG_DURABLE,
  type HubValue,
  Message,
  type Producer,
  RoutingKey,
} from '../core/index.ts';
import { sameArguments } from '../core/tlv.ts';
import type { Topology } from '../core/topology.ts';
import { dump } from './dump.ts';
import { Prng } from './prng.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

const WORK = ['work.a', 'work.b', 'work.c'] as const;
const DEAD = 'dead';
const KEEP_ALL = { 'dead-letter-exchange': '', 'dead-letter-routing-key': DEAD } as const;

export class RedriveSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  /** How often a redrive has moved something. */
  moved = 0;
  /** How often one went on after a restart. */
  resumed = 0;
  /** Those known to be on disk; true: their end too. */
  readonly #jobs = new Map<number, boolean>();
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  #client!: Client;
  #producer!: Producer;
  /** Numbers whose confirm is awaited, in order; `#confirmed` of them have it. */
  #asked: number[] = [];
  #answered = 0;
  #last = 0;
  readonly #confirmed = new Set<number>();
  /** Completed, perhaps not for good yet. */
  readonly #completed = new Set<number>();
  /** What the operator was told is in force: queue -> live settings, and policies by name. */
  readonly #live = new Map<string, { [name: string]: HubValue }>();
  readonly #policies = new Map<string, { [name: string]: HubValue }>();

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    for (const name of [...WORK, DEAD]) await this.#machine.declare(name);
    // Whatever policies say, nothing that is given up is deleted.
    for (const name of WORK) await this.#setLive(name, KEEP_ALL);
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#clock.advance(60_000);
    await this.#audit();
    for (const { id, state } of this.#machine.broker.admin.redrives.list('/')) {
      assert(state !== 'running', `redrive ${id} does not come to an end`);
    }
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      publish: 30,
      rules: 12,
      policy: 8,
      redrive: 16,
      cancel: 3,
      complete: 10,
      wait: 20,
      checkpoint: 2,
    };
    const what = prng.weighted({ ...weights, restart: 4 });
    if (what === 'publish') this.#publish();
    else if (what === 'rules') await this.#setLive(prng.pick(WORK), this.#rules());
    else if (what === 'policy') await this.#changePolicy(prng.pick(['p', 'q']));
    else if (what === 'redrive') this.#redrive();
    else if (what === 'cancel') this.#cancel();
    else if (what === 'complete') this.#complete(prng.pick([...WORK, DEAD]));
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.2) ? prng.between(1, 300) : prng.float() * 3);
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    this.#client = this.#machine.connect();
    this.#asked = [];
    this.#answered = 0;
    this.#producer = this.#client.producer({
      onConfirm: (upTo, refused) => {
        for (; this.#answered < upTo; this.#answered++) {
          const number = this.#asked[this.#answered] as number;
          if (refused?.includes(this.#answered + 1) !== true) this.#confirmed.add(number);
        }
      },
    });
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    this.#countMoved();
    const topology = this.#machine.internals.topology;
    await this.#machine.end(how);
    const before = how === 'clean' ? settingsOf(topology) : undefined;
    await this.#open();
    if (before !== undefined) assert.deepEqual(settingsOf(this.#machine.internals.topology), before);
    const { admin } = this.#machine.broker;
    this.#checkJobs();
    for (const [name, live] of this.#live) assert(sameArguments(admin.queue('/', name)?.liveRules ?? {}, live));
    const policies = admin.policies.list('/');
    assert.equal(policies.length, this.#policies.size);
    for (const { name, definition } of policies) assert(sameArguments(definition, this.#policies.get(name) ?? {}));
    await this.#audit();
  }

  // ---- Rules ------------------------------------------------------------------------------------------------------

  #rules(): { [name: string]: HubValue } {
    const prng = this.#prng;
    const all: { [name: string]: HubValue } = {
      'max-length': prng.below(20),
      'max-length-bytes': prng.below(8_000),
      'message-ttl': prng.between(50, 400),
      'max-priority': prng.below(4),
      overflow: prng.pick(['drop-head', 'reject-publish']),
      'delivery-limit': prng.below(3),
      'delayed-retry-type': prng.pick(['all', 'failed', 'returned']),
      'delayed-retry-min': prng.between(1, 100),
      'single-active-consumer': prng.chance(0.5),
      'group-buckets': prng.pick([0, 4, 64]),
    };
    return { ...Object.fromEntries(Object.entries(all).filter(() => prng.chance(0.3))), ...KEEP_ALL };
  }

  async #setLive(name: string, rules: { [name: string]: HubValue }): Promise<void> {
    this.log.push(`${name} ${JSON.stringify(rules)}`);
    await this.#clock.drive(this.#machine.broker.admin.policies.setQueueRules('/', name, rules));
    this.#live.set(name, rules);
  }

  async #changePolicy(name: string): Promise<void> {
    const { policies } = this.#machine.broker.admin;
    if (this.#policies.has(name) && this.#prng.chance(0.5)) {
      await this.#clock.drive(policies.remove('/', name));
      this.#policies.delete(name);
      return;
    }
    const definition = this.#rules();
    const priority = this.#prng.below(3);
    await this.#clock.drive(policies.set('/', name, { pattern: '^work\\.[ab]', priority, definition }));
    this.#policies.set(name, definition);
  }

  // ---- Messages ---------------------------------------------------------------------------------------------------

  #publish(): void {
    const prng = this.#prng;
    const address = this.#producer.address('', new RoutingKey(prng.pick(WORK), 0x2e));
    for (let left = prng.between(1, 15); left > 0; left--) {
      const number = ++this.#last;
      this.#asked.push(number);
      const message = new Message();
      message.format = 1;
      message.flags = FLAG_DURABLE;
      message.priority = prng.below(6);
      if (prng.chance(0.1)) message.deliverAtMs = this.#clock.now() + prng.between(1, 300);
      message.bytes = Buffer.alloc(prng.chance(0.1) ? prng.between(1000, 6000) : prng.between(5, 200));
      message.bytes.writeUInt32LE(number);
      message.bodyEnd = message.bytes.length - 1;
      if (prng.chance(0.5)) {
        message.bytes[message.bodyEnd] = 0x61 + prng.below(20);
        message.groupStart = message.bodyEnd;
        message.groupEnd = message.bytes.length;
      }
      this.#producer.publish(address, message, CONFIRM);
    }
  }

  #complete(queue: string): void {
    const subscription = this.#client.subscribe(
      queue,
      { credit: this.#prng.between(1, 10) },
      {
        onDeliveries: (batch) => {
          while (batch.next()) {
            const number = numberOf(batch.message);
            assert(number <= this.#last);
            const op = this.#prng.weighted({ complete: 2, discard: 1, modify: 1, requeue: 1, nothing: 1 });
            if (op === 'nothing' || (op === 'discard' && queue === DEAD)) continue;
            if (op === 'complete') this.#completed.add(number);
            subscription.settle(batch.deliveryId, batch.deliveryId, op);
          }
        },
      },
    );
    this.#clock.after(this.#prng.below(5), () => subscription.close());
  }

  #redrive(): void {
    const prng = this.#prng;
    const { redrives } = this.#machine.broker.admin;
    const under = redrives.list('/').some(({ endedAtMs }) => endedAtMs === undefined);
    if (under) return;
    this.#countMoved();
    const to = prng.chance(0.5) ? undefined : { queue: prng.pick(WORK) };
    const ratePerSecond = prng.chance(0.3) ? prng.between(50, 2000) : undefined;
    const options = { ...(to && { to }), ...(ratePerSecond && { ratePerSecond }), max: prng.between(1, 60) };
    this.log.push(`redrive ${JSON.stringify(options)}`);
    redrives.start('/', DEAD, options).then(({ id }) => this.#jobs.set(id, false), ignore);
  }

  #cancel(): void {
    const { redrives } = this.#machine.broker.admin;
    for (const { id, endedAtMs } of redrives.list('/')) {
      if (endedAtMs === undefined) redrives.cancel('/', id).then(() => this.#jobs.set(id, true), ignore);
    }
  }

  /** After a restart: jobs go on unless they have ended, and none has moved more than it may. */
  #checkJobs(): void {
    const { redrives } = this.#machine.broker.admin;
    for (const [id, cancelled] of this.#jobs) {
      const job = redrives.get('/', id);
      assert(job !== undefined, `redrive ${id} is gone`);
      if (cancelled) assert(job.endedAtMs !== undefined, `redrive ${id} was cancelled, and is ${job.state}`);
      assert(job.state !== 'failed', `redrive ${id} failed: ${job.reason}`);
      assert(job.moved <= (job.max ?? 0), `redrive ${id} moved ${job.moved} of ${job.max}`);
      if (job.endedAtMs === undefined) this.resumed++;
    }
  }

  #countMoved(): void {
    for (const { moved } of this.#machine.broker.admin.redrives.list('/').slice(0, 1)) this.moved += moved;
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  /** Look into every queue: what was confirmed and not completed is in exactly one. */
  async #audit(): Promise<void> {
    const found = new Map<number, string>();
    const looking = [...WORK, DEAD].map((queue) =>
      this.#client.subscribe(
        queue,
        { credit: Number.POSITIVE_INFINITY },
        {
          onDeliveries(batch) {
            while (batch.next()) {
              const number = numberOf(batch.message);
              assert.equal(found.get(number), undefined, `${number} is in ${found.get(number)} and in ${queue}`);
              found.set(number, queue);
            }
          },
        },
      ),
    );
    await this.#clock.advance(10_000);
    for (const subscription of looking) subscription.close();
    for (const number of this.#confirmed)
      if (!this.#completed.has(number)) assert(found.has(number), `${number} is lost`);
    // A completion that a crash undid.
    for (const number of found.keys()) this.#completed.delete(number);
  }
}

function ignore(): void {}

/** What time does not change: not the messages, of which some may have become due. */
function settingsOf(topology: Topology): string[] {
  return dump(topology).filter((line) => !line.startsWith(' '));
}

function numberOf({ bytes, bodyStart }: Message): number {
  return bytes.readUInt32LE(bodyStart);
}
