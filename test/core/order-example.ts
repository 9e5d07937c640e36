/**
 * The examples of docs/order.md, run on a broker: statements separated by `;`, on a queue `q` unless they name another one.
 *
 *     queue q max-priority=9 dlx=d      declare; names of arguments without x-; dlx=d: dead letters go to the queue d
 *     publish a b priority=5 to=d       two messages; also ttl, delay (ms), group, color, id (for repeats), symbol (a header)
 *     refused a                         publish, and be refused
 *     c consumes credit=2 priority=1    a consumer; also of=d, filter=red (colour), pull
 *     c gets a b | c gets nothing       exactly that since its last `gets`, in that order
 *     c completes a | requeues | fails | rejects
 *     c leaves | c vanishes
 *     begin; ...; commit                a transaction
 *     prepare h a; commit h             a half message
 *     wait 50; purge; rules max-length=2; restart; has 3 | d has 3 (ready messages)
 */
import { strict as assert } from 'node:assert';
import {
  type Arguments,
  type Client,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  type Format,
  Message,
  type Producer,
  type SettleOp,
  type Subscription,
  type Transaction,
} from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { bodyOf, connect, type Fixture, key, newDisk, start } from './fixture.ts';

const OPS: ReadonlyMap<string, SettleOp> = new Map([
  ['completes', 'complete'],
  ['requeues', 'requeue'],
  ['fails', 'modify'],
  ['rejects', 'discard'],
]);
/** Properties are a JSON object: headers, and `id`, the message id. */
const FORMAT: Format = {
  id: 250,
  name: 'example',
  toHub: (message) => {
    const headers = JSON.parse(message.bytes.toString('utf8', message.headStart, message.headEnd)) as {
      [name: string]: string;
    };
    const { id, ...application } = headers;
    const hub = { durable: message.durable, annotations: new Map(), application: Object.entries(application) };
    return id === undefined ? hub : { ...hub, messageId: id };
  },
};
const PROPERTIES = ['color', 'symbol', 'id'] as const;

interface Consumer {
  readonly subscription: Subscription;
  /** Text of a message -> number of its delivery. */
  readonly held: Map<string, number>;
  /** Since the last time it was asked. */
  got: string[];
}

export class OrderExample {
  readonly #clock = new SimClock();
  readonly #disk = newDisk(this.#clock);
  readonly #consumers = new Map<string, Consumer>();
  #fixture!: Fixture;
  #client!: Client;
  #producer!: Producer;
  #transaction: Transaction | undefined;
  /** Numbers of the publishes that were refused. */
  readonly #refused = new Set<number>();
  #asked = 0;

  /** Run an example; rejects when it is not as it says. */
  async run(example: string): Promise<void> {
    await this.#open();
    for (const statement of example.split(';')) {
      await this.#statement(statement.trim().split(/\s+/));
      if (this.#transaction === undefined) await this.#clock.advance(10);
    }
    await this.#clock.drive(this.#fixture.close());
  }

  async #open(): Promise<void> {
    this.#fixture = await start({}, this.#clock, this.#disk);
    this.#fixture.broker.registerFormat(FORMAT);
    this.#client = connect(this.#fixture);
    this.#asked = 0;
    this.#refused.clear();
    this.#consumers.clear();
    this.#producer = this.#client.producer({
      onConfirm: (_, refused) => {
        for (const number of refused ?? []) this.#refused.add(number);
      },
    });
  }

  async #statement([first = '', ...words]: string[]): Promise<void> {
    const { admin } = this.#fixture.broker;
    if (first === 'queue') await this.#clock.drive(this.#declare(words[0] as string, optionsOf(words)));
    else if (first === 'publish') this.#publish(words);
    else if (first === 'refused') await this.#publishInVain(words);
    else if (first === 'wait') await this.#clock.advance(Number(words[0]));
    else if (first === 'purge') await this.#clock.drive(admin.purgeQueue('/', 'q'));
    else if (first === 'rules')
      await this.#clock.drive(admin.policies.setQueueRules('/', 'q', argumentsOf(optionsOf(words), '')));
    else if (first === 'restart') await this.#restart();
    else if (first === 'has') this.#checkReady('q', Number(words[0]));
    else if (first === 'begin') this.#transaction = this.#producer.transaction();
    else if (first === 'prepare') this.#prepare(words);
    else if (first === 'commit') await this.#commit(words[0]);
    else if (words[0] === 'has') this.#checkReady(first, Number(words[1]));
    else this.#consumer(first, words);
  }

  async #declare(name: string, options: Map<string, string>): Promise<unknown> {
    const settings = { durable: true, autoDelete: false, exclusive: false, arguments: argumentsOf(options, 'x-') };
    return this.#fixture.broker.admin.declareQueue('/', name, settings);
  }

  async #restart(): Promise<void> {
    await this.#clock.drive(this.#fixture.close());
    await this.#open();
  }

  #checkReady(queue: string, count: number): void {
    assert.equal(this.#fixture.broker.admin.queue('/', queue)?.ready, count, `${queue} has`);
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  #publish(words: readonly string[]): void {
    const options = optionsOf(words);
    const address = this.#producer.address('', key(options.get('to') ?? 'q'));
    for (const text of words.filter((word) => !word.includes('='))) {
      const message = this.#message(text, options);
      if (this.#transaction !== undefined) this.#transaction.publish(address, message, 0);
      else {
        this.#asked++;
        this.#producer.publish(address, message, CONFIRM);
      }
    }
  }

  async #publishInVain(words: readonly string[]): Promise<void> {
    this.#publish(words);
    await this.#clock.advance(10);
    assert(this.#refused.has(this.#asked), `${words[0]} is refused`);
  }

  #message(text: string, options: ReadonlyMap<string, string>): Message {
    const headers: { [name: string]: string } = {};
    for (const name of PROPERTIES) {
      const value = options.get(name);
      if (value !== undefined) headers[name] = value;
    }
    const parts = [JSON.stringify(headers), text, options.get('group') ?? ''].map((part) => Buffer.from(part));
    const [head, body, group] = parts as [Buffer, Buffer, Buffer];
    const message = new Message();
    message.format = FORMAT.id;
    message.flags = FLAG_DURABLE;
    message.bytes = Buffer.concat(parts);
    message.headEnd = head.length;
    message.bodyStart = head.length;
    message.bodyEnd = head.length + body.length;
    message.groupStart = message.bodyEnd;
    message.groupEnd = message.bodyEnd + group.length;
    message.priority = Number(options.get('priority') ?? 0);
    const delayMs = Number(options.get('delay') ?? 0);
    const ttl = options.get('ttl');
    if (delayMs > 0) message.deliverAtMs = this.#clock.now() + delayMs;
    if (ttl !== undefined) message.expiresAtMs = this.#clock.now() + delayMs + Number(ttl);
    return message;
  }

  #prepare([id, ...words]: string[]): void {
    const options = optionsOf(words);
    const address = this.#producer.address('', key(options.get('to') ?? 'q'));
    const texts = words.filter((word) => !word.includes('='));
    const messages = texts.map((text) => ({ address, message: this.#message(text, options) }));
    this.#producer.prepareHalf(messages, { group: 'examples', id: id as string }, 0);
  }

  async #commit(half: string | undefined): Promise<void> {
    if (half === undefined) this.#transaction?.commit(() => {});
    else this.#client.finishHalf('examples', half, 'commit', () => {});
    this.#transaction = undefined;
    await this.#clock.advance(10);
  }

  // ---- Consuming --------------------------------------------------------------------------------------------------

  #consumer(name: string, [verb = '', ...words]: string[]): void {
    if (verb === 'consumes') {
      this.#consume(name, optionsOf(words), words.includes('pull'));
      return;
    }
    const consumer = this.#consumers.get(name);
    assert(consumer !== undefined, `'${name} ${verb}' is no statement`);
    const op = OPS.get(verb);
    if (op !== undefined) this.#settle(consumer, words, op);
    else if (verb === 'leaves' || verb === 'vanishes') consumer.subscription.close(verb === 'vanishes');
    else {
      assert.equal(verb, 'gets');
      assert.deepEqual(consumer.got, words[0] === 'nothing' ? [] : words, `what ${name} gets`);
      consumer.got = [];
    }
  }

  #consume(name: string, options: ReadonlyMap<string, string>, pull: boolean): void {
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) {
        const text = bodyOf(batch.message);
        consumer.got.push(text);
        consumer.held.set(text, batch.deliveryId);
      }
    };
    const color = options.get('filter');
    const filter = color === undefined ? {} : { filter: `color = '${color}'` };
    const credit = Number(options.get('credit') ?? 1000);
    const priority = Number(options.get('priority') ?? 0);
    const weight = Number(options.get('weight') ?? 1);
    const settings = { credit, priority, weight, pull, ...filter };
    const subscription = this.#client.subscribe(options.get('of') ?? 'q', settings, { onDeliveries });
    const consumer: Consumer = { subscription, held: new Map(), got: [] };
    this.#consumers.set(name, consumer);
  }

  /** Each one settled makes room for one more, as a prefetch does. */
  #settle({ subscription, held }: Consumer, texts: readonly string[], op: SettleOp): void {
    for (const text of texts) {
      const number = held.get(text);
      assert(number !== undefined, `nobody holds ${text}`);
      held.delete(text);
      if (this.#transaction !== undefined) this.#transaction.settle(subscription, number, number, op);
      else subscription.settle(number, number, op);
      subscription.credit(1);
    }
  }
}

function optionsOf(words: readonly string[]): Map<string, string> {
  return new Map(words.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]));
}

function argumentsOf(options: ReadonlyMap<string, string>, prefix: string): Arguments {
  const args: { [name: string]: string | number | boolean } = {};
  for (const [name, value] of options) {
    if (name === 'dlx') {
      args[`${prefix}dead-letter-exchange`] = '';
      args[`${prefix}dead-letter-routing-key`] = value;
    } else args[prefix + name] = value === 'true' ? true : /^\d+$/.test(value) ? Number(value) : value;
  }
  return args;
}
