/**
 * Topic names and topic filters (MQTT 3.1.1 section 4.7) as the core's routing keys and patterns.
 */
import {
  ANY_MANY,
  ANY_ONE,
  CoreError,
  type Limits,
  type Message,
  type Pattern,
  type PatternLevel,
  RoutingKey,
} from '../../core/index.ts';
import { InternTable } from '../intern.ts';
import { utf8 } from './codec.ts';

/** `/` */
export const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;

/** The topic of a PUBLISH or will: at least one character [MQTT-4.7.3-1], no wildcards [MQTT-3.3.2-2]. */
export function topicKey(bytes: Buffer, start: number, end: number, limits: Limits): RoutingKey {
  if (end === start) throw new CoreError('protocol-violation', 'an empty topic [MQTT-4.7.3-1]');
  const key = new RoutingKey(utf8(bytes, start, end, 'topic'), SLASH);
  if (/[+#]/.test(key.text)) {
    throw new CoreError(
      'protocol-violation',
      `the topic ${JSON.stringify(key.text)} contains a wildcard [MQTT-3.3.2-2]`,
    );
  }
  checkLevels(key.levels.length, limits);
  return key;
}

function checkLevels(count: number, limits: Limits): void {
  if (count <= limits.routingKeyLevelsMax) return;
  throw new CoreError('limit-exceeded', `${count} topic levels, the limit is ${limits.routingKeyLevelsMax}`);
}

/** A topic filter: `+` is a whole level [MQTT-4.7.1-3], `#` the whole last level [MQTT-4.7.1-2]. */
export function parseFilter(text: string): Pattern {
  if (text === '') throw new CoreError('protocol-violation', 'an empty topic filter [MQTT-4.7.3-1]');
  const parts = text.split('/');
  const levels = parts.map((part, index): PatternLevel => {
    if (part === '+') return ANY_ONE;
    if (part === '#' && index === parts.length - 1) return ANY_MANY;
    if (/[+#]/.test(part)) {
      throw new CoreError(
        'protocol-violation',
        `misplaced wildcard in the filter ${JSON.stringify(text)} [MQTT-4.7.1-2]`,
      );
    }
    return part;
  });
  return { text, separator: SLASH, levels, hidesDollar: true };
}

/** Does a pattern made by `parseFilter` match these levels? For overlaps inside one session; routing is the core's. */
export function filterMatches(pattern: Pattern, levels: readonly string[]): boolean {
  const first = pattern.levels[0];
  if (typeof first !== 'string' && levels[0]?.startsWith('$')) return false;
  for (let i = 0; i < pattern.levels.length; i++) {
    const wanted = pattern.levels[i];
    if (wanted === ANY_MANY) return true;
    if (i >= levels.length || (wanted !== ANY_ONE && wanted !== levels[i])) return false;
  }
  return levels.length === pattern.levels.length;
}

const TOPICS_KEPT_MAX = 4096;
const TOPIC_BYTES_MAX = 65_535;
const NOT_A_TOPIC: Buffer = Buffer.alloc(0);

/**
 * Topics of messages that other protocols published: the levels of the key joined with `/`. A key that is no topic (empty,
 * with a wildcard, with U+0000, not UTF-8, too long) has none.
 */
export class ForeignTopics {
  readonly #known = new InternTable<Buffer>(TOPICS_KEPT_MAX);
  readonly #knownSlashed = new InternTable<Buffer>(TOPICS_KEPT_MAX);

  /** Valid as long as it is kept; empty when the key cannot be a topic. */
  of(message: Message): Buffer {
    const { keyBytes, keyStart, keyEnd, separator } = message;
    const table = separator === SLASH ? this.#knownSlashed : this.#known;
    const known = table.find(keyBytes, keyStart, keyEnd);
    if (known !== undefined) return known;
    const topic = this.#make(keyBytes, keyStart, keyEnd, separator);
    table.add(keyBytes, keyStart, keyEnd, topic);
    return topic;
  }

  #make(bytes: Buffer, start: number, end: number, separator: number): Buffer {
    if (end === start || end - start > TOPIC_BYTES_MAX) return NOT_A_TOPIC;
    const topic = Buffer.from(bytes.subarray(start, end));
    for (let i = 0; i < topic.length; i++) {
      const byte = topic[i];
      if (byte === separator) topic[i] = SLASH;
      else if (byte === PLUS || byte === HASH || byte === 0) return NOT_A_TOPIC;
    }
    return topic.equals(Buffer.from(topic.toString('utf8'), 'utf8')) ? topic : NOT_A_TOPIC;
  }
}
