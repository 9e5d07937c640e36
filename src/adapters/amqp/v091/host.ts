/** What a channel needs of the session it belongs to. */
import type { Broker, Client, Clock, Limits } from '../../../core/index.ts';
import type { Connection } from '../../connection.ts';
import type { ArgumentsToSend } from './codec.ts';
import type { MessageWriter } from './deliver.ts';
import type { MethodName } from './methods.ts';

/** Something that collects work while a chunk is parsed. */
export interface Collector {
  /** The chunk is parsed, or order asks for it earlier: do the work now. */
  flush(): void;
}

/** Something that collects output until the connection is written. */
export interface LateWriter {
  writeLate(): void;
}

export interface ChannelHost {
  readonly broker: Broker;
  readonly client: Client;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly connection: Connection;
  readonly messages: MessageWriter;
  /** Payload bytes of one frame, at most. */
  readonly payloadBytesMax: number;
  /** The client wants to be told when a consumer is cancelled by the broker. */
  readonly cancelNotify: boolean;
  /** Write a method frame. */
  send<M extends MethodName>(channel: number, name: M, args: ArgumentsToSend<M>): void;
  /** Have `collector.flush` called when the current chunk is parsed. */
  flushAfterChunk(collector: Collector): void;
  /** Have `writer.writeLate` called right before the connection is next written. */
  writeBeforeFlush(writer: LateWriter): void;
  /** Stop parsing and reading until `release` is called with the same reason. */
  hold(reason: object): void;
  release(reason: object): void;
  /** This connection publishes: an alarm concerns it. */
  publishing(): void;
}
