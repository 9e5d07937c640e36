/**
 * Errors of the core as MQTT 3.1.1 can express them. It has return codes for CONNECT and SUBSCRIBE only; everything
 * else that goes wrong ends the network connection (section 4.8).
 */
import { CoreError, type ErrorCode } from '../../core/index.ts';
import { CONNACK, type ConnackCode } from './packets.ts';

/** What a failed CONNECT answers (3.2.2.3); undefined: nothing, the connection is just closed [MQTT-3.1.4-1]. */
const CONNACK_CODES: { readonly [C in ErrorCode]?: ConnackCode } = {
  'not-found': CONNACK.NOT_AUTHORIZED,
  'access-refused': CONNACK.NOT_AUTHORIZED,
  'authentication-failed': CONNACK.BAD_CREDENTIALS,
  'already-exists': CONNACK.BAD_CLIENT_ID,
  'precondition-failed': CONNACK.BAD_CLIENT_ID,
  'resource-locked': CONNACK.BAD_CLIENT_ID,
  'invalid-argument': CONNACK.BAD_CLIENT_ID,
  'in-use': CONNACK.UNAVAILABLE,
  'limit-exceeded': CONNACK.UNAVAILABLE,
  'connection-limit': CONNACK.UNAVAILABLE,
  'publishing-blocked': CONNACK.UNAVAILABLE,
  stopping: CONNACK.UNAVAILABLE,
  'internal-error': CONNACK.UNAVAILABLE,
};

/** The return code for a CONNECT that failed with `error`; undefined when the connection is closed without one. */
export function connackCode(error: unknown): ConnackCode | undefined {
  return error instanceof CoreError ? CONNACK_CODES[error.code] : CONNACK.UNAVAILABLE;
}

/** The error code to report for anything thrown while a packet was handled. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof CoreError ? error.code : 'internal-error';
}
