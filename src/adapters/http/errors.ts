/** Core errors as HTTP answers: one status a code, and the body `{ error, message }` (docs/protocols/http.md "Errors"). */
import { CoreError, type ErrorCode } from '../../core/index.ts';

/** The status each code is answered with. */
export const HTTP_STATUS = {
  'not-found': 404,
  'already-exists': 409,
  'precondition-failed': 412,
  'resource-locked': 423,
  'in-use': 409,
  'not-empty': 409,
  'access-refused': 403,
  'authentication-failed': 401,
  'invalid-argument': 400,
  'not-supported': 501,
  'limit-exceeded': 429,
  'message-too-large': 413,
  unroutable: 404,
  'unknown-delivery': 404,
  'offset-out-of-range': 416,
  'out-of-order': 409,
  fenced: 409,
  'consumer-timeout': 408,
  'malformed-frame': 400,
  'frame-too-large': 413,
  'protocol-violation': 400,
  'handshake-timeout': 408,
  'heartbeat-timeout': 408,
  'connection-limit': 503,
  'slow-consumer': 503,
  'taken-over': 409,
  'closed-by-operator': 503,
  'publishing-blocked': 503,
  stopping: 503,
  'internal-error': 500,
  'data-dir-locked': 500,
  'data-dir-unusable': 500,
  'journal-corrupt': 500,
  'journal-version': 500,
  'journal-failed': 500,
} as const satisfies Record<ErrorCode, number>;

/** What an error is answered with. */
export interface HttpError {
  readonly status: number;
  readonly body: { readonly error: ErrorCode; readonly message: string };
}

/** Errors of the HTTP layer itself, by status, in the words of the error table. */
const CODE_OF_STATUS: ReadonlyMap<number, ErrorCode> = new Map([
  [400, 'invalid-argument'],
  [404, 'not-found'],
  [405, 'not-supported'],
  [408, 'handshake-timeout'],
  [413, 'message-too-large'],
  [414, 'limit-exceeded'],
  [415, 'not-supported'],
  [431, 'limit-exceeded'],
  [503, 'stopping'],
]);

/** The answer to bytes that never became a request, by the code of the parser's error. */
export function headError({ code }: { readonly code?: unknown }): HttpError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    const { message } = new CoreError('limit-exceeded', 'a request has at most 16 KiB of headers');
    return { status: 431, body: { error: 'limit-exceeded', message } };
  }
  return httpError(new CoreError(code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'handshake-timeout' : 'malformed-frame'));
}

/** The answer to any thrown value. What is no mistake of the caller is an `internal-error` that tells nothing about us. */
export function httpError(error: unknown): HttpError {
  if (error instanceof CoreError) {
    return { status: HTTP_STATUS[error.code], body: { error: error.code, message: error.message } };
  }
  if (error instanceof Error) {
    const status = (error as { statusCode?: unknown }).statusCode;
    if (typeof status === 'number' && status >= 400 && status < 500) {
      return { status, body: { error: CODE_OF_STATUS.get(status) ?? 'invalid-argument', message: error.message } };
    }
  }
  const hidden = new CoreError('internal-error');
  return { status: 500, body: { error: hidden.code, message: hidden.message } };
}
