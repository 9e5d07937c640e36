/** One channel: its state, and what each method does. */

import type { Transaction } from '../../../core/index.ts';
import { type ArgumentsToSend, type DecodedMethod, decodeMethod, readU32, readU64 } from './codec.ts';
import { Deliveries } from './deliveries.ts';
import { AmqpError } from './errors.ts';
import { groupOfChecks } from './halves.ts';
import type { ChannelHost } from './host.ts';
import { type Arguments, METHODS, type MethodName } from './methods.ts';
import { contentExpected, Publisher } from './publisher.ts';
import { Topology } from './topology.ts';

const BASIC_ACK = METHODS['basic.ack'].id;
const BASIC_NACK = METHODS['basic.nack'].id;
const BASIC_REJECT = METHODS['basic.reject'].id;
const MULTIPLE = 1;

/** Methods that only a server sends, or that are no business of a channel. */
function misplaced(name: string): AmqpError {
  return new AmqpError('command-invalid', `method ${name} is not allowed here`);
}

export class Channel {
  readonly number: number;
  readonly publisher: Publisher;
  readonly deliveries: Deliveries;
  /** We have sent channel.close: everything but its answer is ignored. */
  closing = false;
  readonly #host: ChannelHost;
  readonly #topology: Topology;
  #transaction: Transaction | undefined;

  constructor(host: ChannelHost, number: number) {
    this.#host = host;
    this.number = number;
    this.publisher = new Publisher(host, number);
    this.deliveries = new Deliveries(host, number);
    this.#topology = new Topology(host);
  }

  /** End consumers and producer; what is unsettled is requeued. @param lost the connection went without a word */
  close(lost = false): void {
    this.deliveries.close(lost);
    this.publisher.close();
  }

  /**
   * A method frame's payload, basic.publish excepted. Answers a promise when the channel must wait for the core.
   * @throws AmqpError, CoreError
   */
  method(id: number, bytes: Buffer, start: number, end: number): Promise<void> | undefined {
    if (this.publisher.awaiting !== 'method') throw contentExpected(this.publisher.awaiting);
    if (id === BASIC_ACK || id === BASIC_NACK || id === BASIC_REJECT) {
      this.#acknowledge(id, bytes, start, end);
      return undefined;
    }
    // What was acknowledged before is settled before: counts and order depend on it.
    this.deliveries.flush();
    return this.#dispatch(decodeMethod(bytes, start, end));
  }

  #acknowledge(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start < 13) throw new AmqpError('syntax-error', 'an acknowledgement is cut short');
    // Delivery tags beyond 2^53 were never given, so it does not matter that they are not exact.
    const tag = readU32(bytes, start + 4) === 0 ? readU32(bytes, start + 8) : readU64(bytes, start + 4);
    const bits = bytes[start + 12] as number;
    if (id === BASIC_ACK) this.deliveries.ack(tag, (bits & MULTIPLE) !== 0);
    else if (id === BASIC_NACK)
      this.deliveries.nack(tag, (bits & MULTIPLE) !== 0, (bits & 2) !== 0 ? 'requeue' : 'discard');
    else this.deliveries.nack(tag, false, (bits & 1) !== 0 ? 'modify' : 'discard');
  }

  #dispatch(method: DecodedMethod): Promise<void> | undefined {
    switch (method.name) {
      case 'basic.qos':
        return this.#qos(method.args);
      case 'basic.consume':
        return this.#consume(method.args);
      case 'basic.cancel':
        this.deliveries.cancel(method.args.consumerTag);
        return this.#answer('basic.cancel-ok', { consumerTag: method.args.consumerTag }, method.args.noWait);
      case 'basic.cancel-ok':
      case 'channel.flow-ok':
        return undefined;
      case 'basic.get':
        return this.#get(method.args);
      case 'basic.recover':
      case 'basic.recover-async':
        return this.#recover(method.args.requeue, method.name === 'basic.recover-async');
      case 'confirm.select':
        if (this.#transaction !== undefined) {
          throw new AmqpError('precondition-failed', 'cannot switch from tx to confirm mode');
        }
        this.publisher.selectConfirm();
        return this.#answer('confirm.select-ok', {}, method.args.noWait);
      case 'channel.flow':
        this.deliveries.flow(method.args.active);
        return this.#answer('channel.flow-ok', { active: method.args.active }, false);
      case 'access.request':
        // Asked for by very old clients; version 0-9-1 has no realms any more.
        return this.#answer('access.request-ok', {}, false);
      case 'tx.select':
        return this.#beginTransactions();
      case 'tx.commit':
        return this.#commit();
      case 'tx.rollback':
        this.#openTransaction.rollback();
        this.deliveries.rolledBack();
        return this.#answer('tx.rollback-ok', {}, false);
      default:
        return this.#declare(method);
    }
  }

  /** From now on the channel is in a transaction: the next one begins where one ends. */
  #beginTransactions(): undefined {
    if (this.publisher.confirming) {
      throw new AmqpError('precondition-failed', 'cannot switch from confirm to tx mode');
    }
    this.#transaction = this.publisher.transact();
    this.deliveries.join(this.#transaction);
    return this.#answer('tx.select-ok', {}, false);
  }

  get #openTransaction(): Transaction {
    if (this.#transaction !== undefined) return this.#transaction;
    throw new AmqpError('precondition-failed', 'channel is not transactional');
  }

  /** A commit that fails closes the channel, and with it the transaction. */
  async #commit(): Promise<void> {
    const transaction = this.#openTransaction;
    let done = (): void => {};
    const durable = new Promise<void>((resolve) => {
      done = resolve;
    });
    transaction.commit(done);
    this.deliveries.committed();
    await durable;
    this.#answer('tx.commit-ok', {}, false);
  }

  /** The exchange and queue classes. */
  #declare(method: DecodedMethod): Promise<void> {
    const topology = this.#topology;
    switch (method.name) {
      case 'exchange.declare':
        return this.#after(topology.declareExchange(method.args), 'exchange.declare-ok', method.args.noWait);
      case 'exchange.delete':
        return this.#after(topology.deleteExchange(method.args), 'exchange.delete-ok', method.args.noWait);
      case 'exchange.bind':
        return this.#after(topology.bindExchange(method.args), 'exchange.bind-ok', method.args.noWait);
      case 'exchange.unbind':
        return this.#after(topology.unbindExchange(method.args), 'exchange.unbind-ok', method.args.noWait);
      case 'queue.declare':
        return this.#declareQueue(method.args);
      case 'queue.bind':
        return this.#after(topology.bindQueue(method.args), 'queue.bind-ok', method.args.noWait);
      case 'queue.unbind':
        return this.#after(topology.unbindQueue(method.args), 'queue.unbind-ok', false);
      case 'queue.purge':
        return this.#counted(topology.purgeQueue(method.args), 'queue.purge-ok', method.args.noWait);
      case 'queue.delete':
        return this.#counted(topology.deleteQueue(method.args), 'queue.delete-ok', method.args.noWait);
      default:
        throw misplaced(method.name);
    }
  }

  #qos(args: Arguments<'basic.qos'>): undefined {
    if (args.prefetchSize !== 0) throw new AmqpError('not-implemented', 'prefetch_size is not 0');
    this.deliveries.qos(args.prefetchCount, args.global);
    return this.#answer('basic.qos-ok', {}, false);
  }

  #consume(args: Arguments<'basic.consume'>): undefined {
    const consumerTag = this.deliveries.consume(this.#topology.queueName(args.queue), args);
    // The core delivers from its own turn at the earliest: this goes out first.
    return this.#answer('basic.consume-ok', { consumerTag }, args.noWait);
  }

  async #get(args: Arguments<'basic.get'>): Promise<void> {
    const found = await this.deliveries.get(this.#topology.queueName(args.queue), args.noAck);
    if (!found) this.#host.send(this.number, 'basic.get-empty', {});
  }

  #recover(requeue: boolean, silent: boolean): undefined {
    if (!requeue) throw new AmqpError('not-implemented', 'basic.recover with requeue=false');
    this.deliveries.recover();
    return this.#answer('basic.recover-ok', {}, silent);
  }

  async #declareQueue(args: Arguments<'queue.declare'>): Promise<void> {
    const group = args.passive ? groupOfChecks(args.queue) : undefined;
    if (group !== undefined) {
      const { halves } = this.#host.broker.admin;
      const known = halves.groups(this.#host.client.vhost).find(({ name }) => name === group);
      const counts = { queue: args.queue, messageCount: 0, consumerCount: known?.checkers ?? 0 };
      this.#answer('queue.declare-ok', counts, args.noWait);
      return;
    }
    const info = await this.#topology.declareQueue(args);
    const counts = { queue: info.name, messageCount: info.ready, consumerCount: info.consumers };
    this.#answer('queue.declare-ok', counts, args.noWait);
  }

  #answer<M extends MethodName>(name: M, args: ArgumentsToSend<M>, noWait: boolean): undefined {
    if (!noWait) this.#host.send(this.number, name, args);
  }

  async #after(
    done: Promise<void>,
    name:
      | 'exchange.declare-ok'
      | 'exchange.delete-ok'
      | 'exchange.bind-ok'
      | 'exchange.unbind-ok'
      | 'queue.bind-ok'
      | 'queue.unbind-ok',
    noWait: boolean,
  ): Promise<void> {
    await done;
    this.#answer(name, {}, noWait);
  }

  async #counted(done: Promise<number>, name: 'queue.purge-ok' | 'queue.delete-ok', noWait: boolean): Promise<void> {
    const messageCount = await done;
    this.#answer(name, { messageCount }, noWait);
  }
}
