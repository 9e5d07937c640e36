/** Core errors on a JSON WebSocket: an `error` frame each; those that end the connection also have a close code. */
import { CoreError, ERRORS, type ErrorCode } from '../../core/index.ts';

/** Close codes of RFC 6455 section 7.4.1 that we use. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  notText: 1003,
  badData: 1007,
  policy: 1008,
  tooBig: 1009,
  broken: 1011,
  later: 1013,
} as const;

/** The close code for each error code, for when it ends the connection (severity `connection`, or a refused login). */
export const CLOSE_CODE = {
  'not-found': CLOSE.policy,
  'already-exists': CLOSE.policy,
  'precondition-failed': CLOSE.policy,
  'resource-locked': CLOSE.policy,
  'in-use': CLOSE.policy,
  'not-empty': CLOSE.policy,
  'access-refused': CLOSE.policy,
  'authentication-failed': CLOSE.policy,
  'invalid-argument': CLOSE.policy,
  'not-supported': CLOSE.policy,
  'limit-exceeded': CLOSE.policy,
  'message-too-large': CLOSE.tooBig,
  unroutable: CLOSE.policy,
  'unknown-delivery': CLOSE.policy,
  'offset-out-of-range': CLOSE.policy,
  'out-of-order': CLOSE.policy,
  fenced: CLOSE.policy,
  'consumer-timeout': CLOSE.policy,
  'malformed-frame': CLOSE.badData,
  'frame-too-large': CLOSE.tooBig,
  'protocol-violation': CLOSE.policy,
  'handshake-timeout': CLOSE.policy,
  'heartbeat-timeout': CLOSE.policy,
  'connection-limit': CLOSE.later,
  'slow-consumer': CLOSE.policy,
  'taken-over': CLOSE.policy,
  'closed-by-operator': CLOSE.policy,
  'publishing-blocked': CLOSE.later,
  stopping: CLOSE.goingAway,
  'internal-error': CLOSE.broken,
  'data-dir-locked': CLOSE.broken,
  'data-dir-unusable': CLOSE.broken,
  'journal-corrupt': CLOSE.broken,
  'journal-version': CLOSE.broken,
  'journal-failed': CLOSE.broken,
} as const satisfies Record<ErrorCode, number>;

/** True when the error ends the connection and not only the request. */
export function endsConnection(error: CoreError): boolean {
  return ERRORS[error.code].severity === 'connection' || ERRORS[error.code].severity === 'fatal';
}

/** Any thrown value as a `CoreError`; what is no mistake of the peer is an `internal-error` that tells nothing about us. */
export function asCoreError(thrown: unknown): CoreError {
  return thrown instanceof CoreError ? thrown : new CoreError('internal-error', undefined, { cause: thrown });
}
