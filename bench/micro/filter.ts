/** What a filter costs, one figure a line: `node --import=tsx bench/micro/filter.ts`. */
import { compileFilter, type Filter, type FilterSource } from '../../src/core/filter/filter.ts';
import { hubSource } from '../../src/core/filter/source.ts';
import { tagFilter } from '../../src/core/filter/tags.ts';
import { limitsWith } from '../../src/core/limits.ts';
import type { HubProperties } from '../../src/core/message.ts';

const LIMITS = limitsWith();
const EVALUATIONS = 2_000_000;
const COMPILATIONS = 20_000;

/** Time `count` calls, after a warm-up of a tenth, and print nanoseconds a call. */
function time(what: string, count: number, call: (i: number) => void): void {
  for (let i = 0; i < count / 10; i++) call(i);
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) call(i);
  const nanoseconds = Number(process.hrtime.bigint() - start) / count;
  console.log(`${what.padEnd(84)} ${nanoseconds.toFixed(0).padStart(8)} ns`);
}

/** Messages that differ, so that no answer is the same twice in a row. */
const hubs: HubProperties[] = Array.from({ length: 16 }, (_, i) => ({
  durable: true,
  priority: i % 10,
  annotations: new Map(),
  application: [
    ['colour', i % 2 === 0 ? 'red' : 'blue'],
    ['weight', 2400 + i * 20],
    ['region', `eu-west-${i % 4}`],
    ['TAGS', `tag${i % 3}`],
    ['urgent', i % 3 === 0],
  ],
}));
const facts = { key: 'cars.new', exchange: 'shop', receivedAtMs: 1_700_000_000_000 };
const sources: FilterSource[] = hubs.map((hub) => hubSource(hub, facts));

function measure(filter: Filter): void {
  let matched = 0;
  time(filter.text, EVALUATIONS, (i) => {
    if (filter.matches(sources[i & 15] as FilterSource)) matched += 1;
  });
  if (matched === 0) throw new Error(`${filter.text} matches no message: that measures too little`);
}

for (const text of [
  'urgent',
  "colour = 'red'",
  'weight > 2500',
  "colour = 'red' AND weight > 2500",
  "region IN ('eu-west-1', 'eu-west-2', 'us-east-1')",
  "region LIKE 'eu-%-1'",
  "region LIKE '%w_st%'",
  'weight BETWEEN 2450 AND 2550 OR absent IS NOT NULL',
  '(weight - 2400) / 20 % 4 = 1',
  "JMSPriority >= 5 AND colour <> 'blue' AND (region STARTSWITH 'eu' OR urgent) AND weight * 2 < 5400",
]) {
  measure(compileFilter(text, LIMITS));
}
measure(tagFilter('tag1 || tag2', LIMITS));

const simple = "colour = 'red' AND weight > 2500";
time(`compile: ${simple}`, COMPILATIONS, () => void compileFilter(simple, LIMITS));
time('source of one message', EVALUATIONS, (i) => void hubSource(hubs[i & 15] as HubProperties, facts));
