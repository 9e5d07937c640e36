/**
 * The one error table. A peer's mistake or a refused request is a `CoreError` with one of these codes; our own mistakes
 * are assertions (`node:assert`). Each adapter maps codes to its protocol's reason codes in its own `errors.ts`; a check
 * keeps this table, those mappings and `docs/errors.md` in step.
 */

/** How far an error reaches: the one request, the channel or link it came on, the connection, or the whole process. */
export type Severity = 'reply' | 'channel' | 'connection' | 'fatal';

export const ERRORS = {
  'not-found': { severity: 'channel', text: 'no such object' },
  'already-exists': { severity: 'channel', text: 'an object of that name exists with other settings' },
  'precondition-failed': { severity: 'channel', text: 'the object is not in the state the request needs' },
  'resource-locked': { severity: 'channel', text: 'the object is exclusive to another connection' },
  'in-use': { severity: 'channel', text: 'the object is in use' },
  'not-empty': { severity: 'channel', text: 'the queue still holds messages' },
  'access-refused': { severity: 'channel', text: 'not allowed for this user' },
  'authentication-failed': {
    severity: 'connection',
    text: 'user name or password is wrong, or not allowed from this address',
  },
  'invalid-argument': { severity: 'channel', text: 'an argument has a wrong type or value' },
  'not-supported': { severity: 'channel', text: 'this feature is not there' },
  'limit-exceeded': { severity: 'channel', text: 'a limit of the broker was reached' },
  'message-too-large': { severity: 'channel', text: 'the message is larger than the limit' },
  unroutable: { severity: 'reply', text: 'no queue or subscriber takes this routing key' },
  'unknown-delivery': { severity: 'channel', text: 'no unsettled delivery has this number' },
  'offset-out-of-range': { severity: 'channel', text: 'the partition has no such offset' },
  'out-of-order': { severity: 'channel', text: 'sequence numbers before this one are missing' },
  fenced: { severity: 'channel', text: 'another one has taken this over' },
  'consumer-timeout': { severity: 'channel', text: 'a delivery was not settled in time' },
  'malformed-frame': { severity: 'connection', text: 'the bytes are not a frame of this protocol' },
  'frame-too-large': { severity: 'connection', text: 'a frame is larger than the limit' },
  'protocol-violation': { severity: 'connection', text: 'a frame is not allowed in this state' },
  'handshake-timeout': { severity: 'connection', text: 'the handshake was not finished in time' },
  'heartbeat-timeout': { severity: 'connection', text: 'the peer was silent for too long' },
  'connection-limit': { severity: 'connection', text: 'too many connections' },
  'slow-consumer': { severity: 'connection', text: 'the peer does not read what it asked for' },
  'taken-over': { severity: 'connection', text: 'another connection took over this session' },
  'closed-by-operator': { severity: 'connection', text: 'the operator closed this connection' },
  'publishing-blocked': { severity: 'reply', text: 'publishing is blocked by a resource alarm' },
  stopping: { severity: 'connection', text: 'the broker is stopping' },
  'internal-error': { severity: 'connection', text: 'the broker made a mistake; see its log' },
  'data-dir-locked': { severity: 'fatal', text: 'another process uses this data directory' },
  'data-dir-unusable': { severity: 'fatal', text: 'the data directory cannot be read or written' },
  'journal-corrupt': { severity: 'fatal', text: 'the journal is damaged in the middle' },
  'journal-version': { severity: 'fatal', text: 'the journal was written by a newer version' },
  'journal-failed': { severity: 'fatal', text: 'a write or sync of the journal failed' },
} as const satisfies Record<string, { severity: Severity; text: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** An expected error: what a peer or an operator did wrong, or what the broker had to refuse. */
export class CoreError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;

  /** @param detail what exactly is wrong, in words a user understands: names, values, limits. */
  constructor(code: ErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail === undefined ? ERRORS[code].text : `${ERRORS[code].text}: ${detail}`, options);
    this.name = 'CoreError';
    this.code = code;
    this.detail = detail;
  }

  get severity(): Severity {
    return ERRORS[this.code].severity;
  }
}
