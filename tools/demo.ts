/**
 * `npm run demo`: the gateway's main job; `npm run demo -- --feature NAME`: one of its features; `--all`: each in turn. Real clients against a real
 * process. Every step is printed when it is proven; the first that fails ends the demo with exit code 1. Takes a few seconds.
 */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { batches } from './demo/batches.ts';
import { deadLetters } from './demo/dead-letters.ts';
import { dedup } from './demo/dedup.ts';
import { delay } from './demo/delay.ts';
import { fairShare } from './demo/fair-share.ts';
import { filters } from './demo/filters.ts';
import { type Feature, Gateway } from './demo/gateway.ts';
import { groups } from './demo/groups.ts';
import { halfMessages } from './demo/half-messages.ts';
import { lastValue } from './demo/last-value.ts';
import { policies } from './demo/policies.ts';
import { priority } from './demo/priority.ts';
import { redrive } from './demo/redrive.ts';
import { retry } from './demo/retry.ts';
import { singleActive } from './demo/single-active.ts';
import { step, stepsBegun } from './demo/steps.ts';
import { topics } from './demo/topics.ts';
import { tour } from './demo/tour.ts';
import { transactions } from './demo/transactions.ts';

/** The first is shown unless another is asked for. */
const FEATURES: readonly Feature[] = [
  tour,
  batches,
  deadLetters,
  dedup,
  delay,
  fairShare,
  filters,
  groups,
  halfMessages,
  lastValue,
  policies,
  priority,
  redrive,
  retry,
  singleActive,
  topics,
  transactions,
];

/** Like other programs: the request made no sense. */
const EXIT_USAGE = 2;

function asked(): readonly Feature[] {
  try {
    const { values } = parseArgs({
      options: { feature: { type: 'string', default: tour.name }, all: { type: 'boolean', default: false } },
    });
    return FEATURES.filter(({ name }) => values.all || name === values.feature);
  } catch {
    return [];
  }
}

async function show(feature: Feature): Promise<void> {
  const gateway = new Gateway();
  try {
    await step('JunctionMQ starts with nothing configured (here: on free ports, in a temporary folder)', async () => {
      await gateway.start();
      const { mqtt, amqp, http } = gateway.ports;
      return `ready: MQTT ${mqtt}, AMQP ${amqp}, HTTP and WebSocket ${http}`;
    });
    await feature.run(gateway);
    await step('SIGTERM: it drains and stops', async () => {
      assert.equal(await gateway.stop(), 0);
      return 'exit code 0';
    });
    process.stdout.write('All of it worked.\n');
  } catch (error) {
    const text = error instanceof Error ? error.stack : error;
    process.stdout.write('\n');
    process.stderr.write(`step ${stepsBegun()} failed: ${text}\n${gateway.output()}`);
    process.exitCode = 1;
  } finally {
    await gateway.cleanUp();
  }
}

const features = asked();
if (features.length === 0) {
  const list = FEATURES.map(({ name, title }) => `  ${name.padEnd(12)} ${title}\n`).join('');
  process.stderr.write(`usage: npm run demo -- [--feature NAME | --all]\n${list}`);
  process.exitCode = EXIT_USAGE;
} else {
  for (const feature of features) {
    if (features.length > 1) process.stdout.write(`\n--- ${feature.name}: ${feature.title}\n`);
    await show(feature);
  }
}
// Clients that still try to reach a killed server must not keep the demo alive.
process.exit();
