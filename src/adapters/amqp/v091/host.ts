/** What a session is to its channels and other parts. */
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

/** The session as its parts see it. */
export interface SessionPeer {
  /** The client says in its properties that it knows this extension. */
  capable(capability: string): boolean;
  /** Write a method frame. */
  send<M extends MethodName>(channel: number, name: M, args: ArgumentsToSend<M>): void;
  /** Stop parsing and reading until `release` is called with the same reason. */
  hold(reason: object): void;
  release(reason: object): void;
}

/** What a channel needs of the session it belongs to. */
export interface ChannelHost extends SessionPeer {
  readonly broker: Broker;
  readonly client: Client;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly connection: Connection;
  readonly messages: MessageWriter;
  /** Payload bytes of one frame, at most. */
  readonly payloadBytesMax: number;
  /** Exchanges and routing keys a channel opened now may keep interned: all channels together stay near the limit. */
  readonly internedKeysMax: number;
  /** Have `collector.flush` called when the current chunk is parsed. */
  flushAfterChunk(collector: Collector): void;
  /** Have `writer.writeLate` called right before the connection is next written. */
  writeBeforeFlush(writer: LateWriter): void;
  /** Close a channel for something that no method of its peer caused. */
  failChannel(channel: number, error: Error): void;
  /** This connection publishes: alarms concern it. */
  publishing(): void;
}
