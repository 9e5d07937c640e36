/**
 * Errors on the wire: reply codes of AMQP 0-9-1 (part 1.2.7), and how the codes of the core map to them. A soft error
 * closes the channel it happened on, a hard one the connection.
 */
import { CoreError, type ErrorCode } from '../../../core/index.ts';

/** Reply codes with the name RabbitMQ puts in front of the text; clients and people read both. */
export const REPLIES = {
  success: [200, 'OK', 'none'],
  'content-too-large': [311, 'CONTENT_TOO_LARGE', 'channel'],
  'no-route': [312, 'NO_ROUTE', 'none'],
  'no-consumers': [313, 'NO_CONSUMERS', 'none'],
  'connection-forced': [320, 'CONNECTION_FORCED', 'connection'],
  'invalid-path': [402, 'INVALID_PATH', 'connection'],
  'access-refused': [403, 'ACCESS_REFUSED', 'channel'],
  'not-found': [404, 'NOT_FOUND', 'channel'],
  'resource-locked': [405, 'RESOURCE_LOCKED', 'channel'],
  'precondition-failed': [406, 'PRECONDITION_FAILED', 'channel'],
  'frame-error': [501, 'FRAME_ERROR', 'connection'],
  'syntax-error': [502, 'SYNTAX_ERROR', 'connection'],
  'command-invalid': [503, 'COMMAND_INVALID', 'connection'],
  'channel-error': [504, 'CHANNEL_ERROR', 'connection'],
  'unexpected-frame': [505, 'UNEXPECTED_FRAME', 'connection'],
  'resource-error': [506, 'RESOURCE_ERROR', 'connection'],
  'not-allowed': [530, 'NOT_ALLOWED', 'connection'],
  'not-implemented': [540, 'NOT_IMPLEMENTED', 'connection'],
  'internal-error': [541, 'INTERNAL_ERROR', 'connection'],
} as const satisfies Record<string, readonly [code: number, label: string, closes: 'none' | 'channel' | 'connection']>;

export type ReplyName = keyof typeof REPLIES;

/** A peer's mistake that ends a channel or the connection. `text` goes to the peer behind the reply's label. */
export class AmqpError extends Error {
  readonly reply: ReplyName;
  /** `class << 16 | method` of the method that caused it; 0 when none did. */
  methodId: number;

  constructor(reply: ReplyName, text: string, methodId = 0, options?: ErrorOptions) {
    super(text, options);
    this.name = 'AmqpError';
    this.reply = reply;
    this.methodId = methodId;
  }

  get code(): number {
    return REPLIES[this.reply][0];
  }

  /** True: only the channel ends. */
  get soft(): boolean {
    return REPLIES[this.reply][2] === 'channel';
  }

  /** The reply text, at most 255 bytes as a short string must be. */
  get replyText(): string {
    return shortText(`${REPLIES[this.reply][1]} - ${this.message}`);
  }
}

/** Every code of the core as a reply of this protocol. */
export const REPLY_OF: { readonly [C in ErrorCode]: ReplyName } = {
  'not-found': 'not-found',
  'already-exists': 'precondition-failed',
  'precondition-failed': 'precondition-failed',
  'resource-locked': 'resource-locked',
  'in-use': 'precondition-failed',
  'not-empty': 'precondition-failed',
  'access-refused': 'access-refused',
  'authentication-failed': 'access-refused',
  'invalid-argument': 'precondition-failed',
  'not-supported': 'not-implemented',
  'limit-exceeded': 'precondition-failed',
  'message-too-large': 'precondition-failed',
  unroutable: 'no-route',
  'unknown-delivery': 'precondition-failed',
  'offset-out-of-range': 'precondition-failed',
  'out-of-order': 'precondition-failed',
  fenced: 'precondition-failed',
  'consumer-timeout': 'precondition-failed',
  'malformed-frame': 'frame-error',
  'frame-too-large': 'frame-error',
  'protocol-violation': 'unexpected-frame',
  'handshake-timeout': 'connection-forced',
  'heartbeat-timeout': 'connection-forced',
  'connection-limit': 'not-allowed',
  'slow-consumer': 'connection-forced',
  'taken-over': 'connection-forced',
  'closed-by-operator': 'connection-forced',
  'publishing-blocked': 'resource-error',
  stopping: 'connection-forced',
  'internal-error': 'internal-error',
  'data-dir-locked': 'internal-error',
  'data-dir-unusable': 'internal-error',
  'journal-corrupt': 'internal-error',
  'journal-version': 'internal-error',
  'journal-failed': 'internal-error',
};

/** Any error as one of this protocol. Errors that are no `CoreError` are our own mistake and say nothing to the peer. */
export function toAmqpError(error: unknown, methodId: number): AmqpError {
  if (error instanceof AmqpError) {
    if (error.methodId === 0) error.methodId = methodId;
    return error;
  }
  if (error instanceof CoreError) return new AmqpError(REPLY_OF[error.code], error.message, methodId, { cause: error });
  return new AmqpError('internal-error', 'the broker made a mistake; see its log', methodId, { cause: error });
}

/** `text` cut to the 255 bytes of a short string, between characters. */
export function shortText(text: string): string {
  if (Buffer.byteLength(text) <= 255) return text;
  let bytes = 0;
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > 252) break;
    kept += character;
  }
  return `${kept}...`;
}

/** Arguments of channel.close and connection.close for an error. */
export function closeArguments(failure: AmqpError) {
  return {
    replyCode: failure.code,
    replyText: failure.replyText,
    classId: failure.methodId >>> 16,
    methodId: failure.methodId & 0xffff,
  };
}
