/** What routing costs, one figure a line: `node --expose-gc --import=tsx bench/micro/exchange.ts`. */

import type { Bound } from '../../src/core/exchange/exchange.ts';
import { parsePattern } from '../../src/core/exchange/pattern.ts';
import { RetainedIndex } from '../../src/core/exchange/retained.ts';
import { type RoutedExchange, Router } from '../../src/core/exchange/router.ts';
import { TopicExchange } from '../../src/core/exchange/topic.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { RoutingKey } from '../../src/core/message.ts';
import { Prng } from '../../src/testing/prng.ts';

const SLASH = 0x2f;

/** Time `count` calls, after a warm-up of a tenth, and print nanoseconds a call. */
function time(what: string, count: number, call: (i: number) => void): void {
  for (let i = 0; i < count / 10; i++) call(i);
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) call(i);
  const nanoseconds = Number(process.hrtime.bigint() - start) / count;
  console.log(`${what.padEnd(60)} ${nanoseconds.toFixed(0).padStart(8)} ns`);
}

function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function printHeap(what: string, count: number, before: number): void {
  const bytes = heapBytes() - before;
  console.log(`${what.padEnd(60)} ${(bytes / count).toFixed(0).padStart(8)} B`);
}

function pattern(text: string) {
  return parsePattern(text, SLASH, '+', '#', { hidesDollar: true });
}

function randomTexts(random: Prng, count: number, wildcards: boolean): string[] {
  return Array.from({ length: count }, () => {
    const levels = [
      `site${random.below(100)}`,
      `line${random.below(50)}`,
      `device${random.below(100)}`,
      `v${random.below(10)}`,
    ];
    if (wildcards && random.chance(0.1)) levels[random.below(4)] = '+';
    if (wildcards && random.chance(0.02)) levels[3] = '#';
    return levels.join('/');
  });
}

function topic(bindings: number): void {
  const random = new Prng(1);
  const texts = randomTexts(random, bindings, true);
  const before = heapBytes();
  const exchange = new TopicExchange<Bound>();
  const all: Bound[] = [];
  for (const text of texts) {
    const binding = { pattern: pattern(text), arguments: {} };
    all.push(binding);
    exchange.add(binding);
  }
  printHeap(`topic, ${bindings} bindings: memory a binding with its pattern`, bindings, before);
  const keys = randomTexts(random, 10_000, false).map((text) => new RoutingKey(text, SLASH));
  const out: Bound[] = [];
  let found = 0;
  time(`topic, ${bindings} bindings: match of 4 levels`, 500_000, (i) => {
    out.length = 0;
    exchange.match(keys[i % keys.length]!, undefined, out);
    found += out.length;
  });
  console.log(`  (${(found / 550_000).toFixed(1)} bindings found a match)`);
  time(`topic, ${bindings} bindings: remove and add`, 100_000, (i) => {
    const binding = all[i % all.length]!;
    exchange.remove(binding);
    exchange.add(binding);
  });
}

function router(bindings: number): void {
  const random = new Prng(2);
  const texts = randomTexts(random, bindings, true);
  const before = heapBytes();
  const made = new Router<object, object, object, RoutedExchange>({
    findQueue: () => undefined,
    findTopic: () => undefined,
    routeCacheEntriesMax: LIMITS.routeCacheEntriesMax[0],
    exchangeHopsMax: LIMITS.exchangeHopsMax[0],
  });
  const exchange: RoutedExchange = { name: 'amq.topic', kind: 'topic' };
  made.add(exchange);
  const targets = texts.map(() => ({}));
  for (const [i, text] of texts.entries())
    made.bind(exchange, { kind: 'queue', target: targets[i]! }, pattern(text), {});
  printHeap(`router, ${bindings} bindings to as many queues: memory a binding`, bindings, before);
  const keys = randomTexts(random, 10_000, false).map((text) => new RoutingKey(text, SLASH));
  time('router: route found in the cache', 2_000_000, (i) => void made.route(exchange, keys[i % keys.length]!));
  time('router: route after a change', 300_000, (i) => {
    made.changed();
    made.route(exchange, keys[i % keys.length]!);
  });
  time('router: bind and unbind', 100_000, (i) => {
    const target = targets[i % targets.length]!;
    made.bind(exchange, { kind: 'queue', target }, pattern('x/y/z'), {});
    made.unbind(exchange, target, pattern('x/y/z'), {});
  });
}

function retained(entries: number): void {
  const random = new Prng(3);
  const keys = Array.from(
    { length: entries },
    (_, i) => new RoutingKey(`site${i % 100}/device${i}/v${random.below(10)}`, SLASH),
  );
  const before = heapBytes();
  const index = new RetainedIndex<number>(entries);
  for (const [i, key] of keys.entries()) index.set(key, i);
  printHeap(`retained, ${entries} keys: memory a key without the key`, entries, before);
  time(
    `retained, ${entries} keys: new value of a known key`,
    500_000,
    (i) => void index.set(keys[(i * 7919) % entries]!, i),
  );
  time(
    `retained, ${entries} keys: match of one key`,
    200_000,
    (i) => void index.match(pattern(keys[i % entries]!.text)),
  );
  time(`retained, ${entries} keys: match of site7/+/v3`, 20, () => void index.match(pattern('site7/+/v3')));
  time(`retained, ${entries} keys: match of #`, 10, () => void index.match(pattern('#')));
}

topic(1_000);
topic(100_000);
topic(1_000_000);
router(1_000_000);
retained(100_000);
retained(1_000_000);
