import t from 'tap';
import type { Arguments } from '../../../src/core/index.ts';
import { checkRules, readRules } from '../../../src/core/queue/rules.ts';
import { connect, DURABLE, start } from '../fixture.ts';

function problemsOf(args: Arguments): string[] {
  const problems: string[] = [];
  readRules(args, (text) => problems.push(text));
  return problems;
}

t.test('arguments become rules; names that are no rules are left alone', async (t) => {
  const args = {
    'x-message-ttl': 0,
    'x-expires': 60_000,
    'x-max-length': 10,
    'x-max-length-bytes': 1e9,
    'x-overflow': 'reject-publish',
    'x-max-priority': 10,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'dead',
    'x-dead-letter-strategy': 'at-least-once',
    'x-delivery-limit': 5,
    'x-single-active-consumer': true,
    'x-delayed-retry-type': 'all',
    'x-delayed-retry-max': 5000,
    'x-consumer-timeout': 1000,
    'x-group-buckets': 16,
    'x-group-rebalance': true,
    'x-ring-size': 100,
    'x-dedup-window-ms': 60_000,
    'x-dedup-count-max': 1000,
    'x-last-value-key': 'header.device',
    'x-something': [1],
  };
  t.same(
    readRules(args, (text) => t.fail(text)),
    {
      messageTtlMs: 0,
      expiresMs: 60_000,
      maxLength: 10,
      maxLengthBytes: 1e9,
      overflow: 'reject-publish',
      maxPriority: 10,
      deadLetter: { exchange: '', key: 'dead', strategy: 'at-least-once' },
      deliveryLimit: 5,
      singleActive: true,
      consumerTimeoutMs: 1000,
      groupBuckets: 16,
      groupRebalance: true,
      ringSize: 100,
      dedupWindowMs: 60_000,
      dedupCountMax: 1000,
      lastValueKey: 'header.device',
      retry: { type: 'all', minMs: 1000, maxMs: 5000 },
    },
  );
});

t.test('queues without rules share one object', async (t) => {
  const fail = (text: string) => t.fail(text);
  const none = readRules({}, fail);
  t.equal(readRules({ 'x-something': 1 }, fail), none);
  t.equal(none.maxLength, Number.POSITIVE_INFINITY);
  t.equal(readRules({ 'x-delivery-limit': -1 }, fail).deliveryLimit, Number.POSITIVE_INFINITY, '-1: no limit');
});

t.test('each bad value is a problem that says what the value may be', async (t) => {
  for (const value of [-1, 1.5, '5', null, 2 ** 60]) {
    t.match(problemsOf({ 'x-message-ttl': value }), [/x-message-ttl must be a whole number from 0 to/]);
  }
  t.match(problemsOf({ 'x-max-priority': 1000 }), [/from 0 to 255/]);
  t.match(problemsOf({ 'x-expires': 0 }), [/from 1 to/]);
  t.match(problemsOf({ 'x-delivery-limit': -2 }), [/from -1 to/]);
  t.match(problemsOf({ 'x-single-active-consumer': 1 }), [/must be true or false, not 1$/]);
  t.match(problemsOf({ 'x-consumer-timeout': 0 }), [/must be -1, or a whole number from 1 to/]);
  t.match(problemsOf({ 'x-overflow': 'explode' }), [/one of drop-head, reject-publish, reject-publish-dlx/]);
  t.match(problemsOf({ 'x-dead-letter-exchange': 1 }), [/must be text of at most 255 bytes/]);
  t.match(problemsOf({ 'x-dead-letter-routing-key': 'k' }), [/needs x-dead-letter-exchange/]);
  const kept = { 'x-dead-letter-exchange': '', 'x-dead-letter-strategy': 'at-least-once' };
  t.same(problemsOf(kept), []);
  t.match(problemsOf({ ...kept, 'x-max-length': 1 }), [/needs x-overflow reject-publish/]);
  t.same(problemsOf({ ...kept, 'x-max-length': 1, 'x-overflow': 'reject-publish' }), []);
});

t.test('a rule with a problem is left out, the others hold', async (t) => {
  const rules = readRules({ 'x-message-ttl': 'soon', 'x-max-length': 3 }, () => {});
  t.equal(rules.messageTtlMs, Number.POSITIVE_INFINITY);
  t.equal(rules.maxLength, 3);
});

t.test('what only topics have is refused, not ignored', async (t) => {
  t.throws(() => checkRules('q', { 'x-max-age': 1 }), { code: 'invalid-argument', message: /x-max-age is for topics/ });
  const fixture = await start();
  connect(fixture);
  const settings = { ...DURABLE, arguments: { 'x-max-age': '1h' } };
  await t.rejects(fixture.broker.admin.declareQueue('/', 'q', settings), { code: 'invalid-argument' });
  t.equal(fixture.broker.admin.queue('/', 'q'), undefined);
});
