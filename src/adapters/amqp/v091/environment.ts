/** What all sessions of the adapter share. */
import type { Broker, Clock, Limits } from '../../../core/index.ts';
import type { Authenticator } from '../../auth.ts';
import type { Log } from '../../log.ts';
import type { Converter } from './message.ts';

export interface SessionEnvironment {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly log: Log;
  readonly product: string;
  readonly version: string;
  readonly converter: Converter;
}
