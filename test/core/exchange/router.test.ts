import t from 'tap';
import type { ExchangeKindName } from '../../../src/core/door.ts';
import { parsePattern } from '../../../src/core/exchange/pattern.ts';
import { type RoutedExchange, Router } from '../../../src/core/exchange/router.ts';
import { type HubProperties, type HubValue, RoutingKey } from '../../../src/core/message.ts';

interface Named {
  name: string;
}

const ALL = parsePattern('#', 0x2e, '*', '#');

function pattern(text: string) {
  return parsePattern(text, 0x2e, '*', '#');
}

function key(text: string) {
  return new RoutingKey(text, 0x2e);
}

/** A router with helpers that make what they name. */
function setup(routeCacheEntriesMax = 100, exchangeHopsMax = 16) {
  const queues = new Map<string, Named>();
  const topics = new Map<string, Named>();
  const router = new Router<Named, Named, Named, RoutedExchange>({
    findQueue: (name) => queues.get(name),
    findTopic: (name) => topics.get(name),
    routeCacheEntriesMax,
    exchangeHopsMax,
  });
  const exchange = (name: string, kind: ExchangeKindName, alternate?: string) => {
    const made: RoutedExchange = { name, kind, alternate };
    router.add(made);
    return made;
  };
  const queue = (name: string) => {
    const made = { name };
    queues.set(name, made);
    router.changed();
    return made;
  };
  const route = (from: RoutedExchange, text: string, headers?: () => HubProperties) => {
    const found = router.route(from, key(text), headers);
    return [...found.queues.map((one) => one.name), ...found.taps.map((one) => `tap ${one.name}`)].sort().join(' ');
  };
  return { router, queues, exchange, queue, route };
}

t.test('queues and taps, each once however many bindings lead to it', async (t) => {
  const { router, exchange, queue, route } = setup();
  const topic = exchange('topic', 'topic');
  const q = queue('q');
  const tap = { name: 't' };
  for (const text of ['a.*', '*.b', '#']) {
    router.bind(topic, { kind: 'queue', target: q }, pattern(text), {});
    router.bind(topic, { kind: 'tap', target: tap }, pattern(text), {});
  }
  t.equal(route(topic, 'a.b'), 'q tap t');
  t.equal(router.bindings, 6);
  t.equal(router.bindingCount(topic), 6);
  t.equal(router.bind(topic, { kind: 'queue', target: q }, pattern('a.*'), {}), undefined, 'it is there already');
  t.not(
    router.bind(topic, { kind: 'queue', target: q }, pattern('a.*'), { x: 1 }),
    undefined,
    'other arguments: another',
  );
  t.equal(router.unbind(topic, q, pattern('nope'), {}), undefined);
  t.equal(router.unbind(topic, q, pattern('#'), {})?.target, q);
  t.equal(route(topic, 'x.y.z'), 'tap t');
  t.equal(router.unbindAll(tap).length, 3);
  t.equal(router.unbindAll(tap).length, 0);
  t.equal(route(topic, 'x.y.z'), '');
  t.same(
    router.bindingsTo(q).map((one) => one.pattern.text),
    ['a.*', '*.b', 'a.*'],
  );
  t.equal(router.bindingsFrom(topic).length, 3);
  t.equal(router.bindings, 3);
});

t.test('the default exchange routes to the queue of that name, text as written', async (t) => {
  const { router, queues, exchange, queue, route } = setup();
  const byName = exchange('', 'direct');
  t.equal(route(byName, 'a.b'), '', 'remembered as nowhere');
  queue('a.b');
  t.equal(route(byName, 'a.b'), 'a.b');
  const slashed = router.route(byName, new RoutingKey('a/b', 0x2f));
  t.same(slashed.queues, []);
  queues.delete('a.b');
  router.changed();
  t.equal(route(byName, 'a.b'), '');
});

t.test('exchange to exchange: cycles end, hops are counted, every way is taken', async (t) => {
  const { router, exchange, queue, route } = setup(100, 3);
  const chain = Array.from({ length: 6 }, (_, i) => exchange(`e${i}`, 'fanout'));
  for (let i = 0; i < 5; i++) {
    router.bind(chain[i]!, { kind: 'exchange', target: chain[i + 1]! }, ALL, {});
    router.bind(chain[i]!, { kind: 'queue', target: queue(`q${i}`) }, ALL, {});
  }
  t.equal(route(chain[0]!, 'k'), 'q0 q1 q2 q3', 'three hops and no more');
  router.bind(chain[2]!, { kind: 'exchange', target: chain[0]! }, ALL, {});
  router.bind(chain[2]!, { kind: 'exchange', target: chain[2]! }, ALL, {});
  t.equal(route(chain[0]!, 'k'), 'q0 q1 q2 q3', 'a cycle changes nothing');
  t.equal(route(chain[2]!, 'k'), 'q0 q1 q2 q3 q4');
});

t.test(
  'alternate: for what an exchange itself cannot route, along a chain, cycles and missing ones included',
  async (t) => {
    const { router, exchange, queue, route } = setup();
    const first = exchange('first', 'direct', 'second');
    const second = exchange('second', 'direct', 'first');
    t.equal(route(first, 'x'), '', 'a cycle of alternates ends');
    router.bind(second, { kind: 'queue', target: queue('q') }, pattern('x'), {});
    t.equal(route(first, 'x'), 'q');
    const onward = exchange('onward', 'direct', 'missing');
    router.bind(first, { kind: 'exchange', target: onward }, pattern('x'), {});
    t.equal(route(first, 'x'), '', 'it was routed, though the next one lost it, and its own alternate is missing');
    const missing = exchange('missing', 'fanout');
    router.bind(missing, { kind: 'tap', target: { name: 't' } }, ALL, {});
    t.equal(route(first, 'x'), 'tap t', 'now it is there');
  },
);

t.test('routes are cached until something changes', async (t) => {
  const { router, exchange, queue } = setup(3);
  const direct = exchange('direct', 'direct');
  const q = queue('q');
  const route = router.route(direct, key('x'));
  t.equal(router.route(direct, key('x')), route, 'the same object');
  t.equal(route.version, router.version);
  t.not(router.route(direct, new RoutingKey('x', 0x2f)), route, 'a separator of its own');
  const changes: (() => unknown)[] = [
    () => router.bind(direct, { kind: 'queue', target: q }, pattern('x'), {}),
    () => router.unbind(direct, q, pattern('x'), {}),
    () => exchange('other', 'direct'),
    () => router.delete(router.get('other')!),
    () => router.changed(),
  ];
  for (const change of changes) {
    const before = router.route(direct, key('x'));
    change();
    t.not(before.version, router.version);
    t.not(router.route(direct, key('x')), before);
  }
  const kept = router.route(direct, key('x'));
  for (let i = 0; i < 3; i++) router.route(direct, key(`k${i}`));
  t.not(router.route(direct, key('x')), kept, 'the cache is bounded');
});

t.test('a route that depends on headers is good for one message', async (t) => {
  const { router, exchange, queue, route } = setup();
  const fanout = exchange('fanout', 'fanout');
  const headers = exchange('headers', 'headers');
  router.bind(fanout, { kind: 'exchange', target: headers }, ALL, {});
  const plain = router.route(fanout, key('k'));
  t.equal(plain.version, router.version, 'a headers exchange without bindings asks for none');
  router.bind(headers, { kind: 'queue', target: queue('red') }, ALL, { colour: 'red' });
  router.bind(headers, { kind: 'queue', target: queue('blue') }, ALL, { colour: 'blue' });
  const coloured = (colour: HubValue) => () => ({
    durable: false,
    annotations: new Map(),
    application: [['colour', colour]] as [string, HubValue][],
  });
  t.equal(route(fanout, 'k', coloured('red')), 'red');
  t.equal(route(fanout, 'k', coloured('blue')), 'blue');
  t.equal(route(fanout, 'k'), '');
  t.equal(router.route(fanout, key('k')).version, -1);
});

t.test('deleting an exchange takes its bindings from and to it, and publishing to it is refused', async (t) => {
  const { router, exchange, queue, route } = setup();
  const a = exchange('a', 'fanout');
  const b = exchange('b', 'fanout');
  const q = queue('q');
  router.bind(a, { kind: 'exchange', target: b }, ALL, {});
  router.bind(b, { kind: 'exchange', target: b }, ALL, {});
  router.bind(b, { kind: 'queue', target: q }, ALL, {});
  router.bind(a, { kind: 'queue', target: q }, pattern('keep'), {});
  t.equal(router.delete(b).length, 3);
  t.equal(router.bindings, 1);
  t.equal(router.bindingsTo(q).length, 1);
  t.equal(router.get('b'), undefined);
  t.same([...router.exchanges()], [a]);
  t.throws(() => router.route(b, key('k')), { code: 'not-found' });
  t.throws(() => router.bind(b, { kind: 'queue', target: q }, ALL, {}), { code: 'not-found' });
  exchange('b', 'direct');
  t.throws(() => router.route(b, key('k')), { code: 'not-found' }, 'another one of that name is not it');
  t.equal(route(a, 'k'), 'q');
});

t.test('a binding the exchange refuses leaves nothing behind', async (t) => {
  const { router, exchange, queue } = setup();
  const headers = exchange('headers', 'headers');
  const q = queue('q');
  const version = router.version;
  t.throws(() => router.bind(headers, { kind: 'queue', target: q }, ALL, { 'x-match': 'some' }), {
    code: 'invalid-argument',
  });
  t.same(router.bindingsTo(q), []);
  t.equal(router.bindings, 0);
  t.equal(router.version, version);
});
