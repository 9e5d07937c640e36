import t from 'tap';
import {
  type Arguments,
  type BindingTarget,
  FLAG_DURABLE,
  FLAG_RETAIN,
  type HubProperties,
  type Limits,
  MANDATORY,
  Message,
} from '../../src/core/index.ts';
import { Prng } from '../../src/testing/prng.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { bodyOf, collect, connect, DURABLE, type Fixture, key, newDisk, pattern, start, TRANSIENT } from './fixture.ts';

type Values = { readonly [name: string]: string | number | boolean };

const TOPIC = { kind: 'topic', durable: true, autoDelete: false, internal: false, arguments: {} } as const;
const FANOUT = { ...TOPIC, kind: 'fanout' } as const;

/** A message whose application properties are `values`. */
function message(body: string, values: Values = {}, flags = 0): Message {
  const head = Buffer.from(JSON.stringify(values));
  const made = new Message();
  made.format = 1;
  made.flags = flags;
  made.bytes = Buffer.concat([head, Buffer.from(body)]);
  made.headEnd = head.length;
  made.bodyStart = head.length;
  made.bodyEnd = made.bytes.length;
  return made;
}

interface Filtered extends Fixture {
  /** How often a message's properties were decoded. */
  decoded: number;
  queue(name: string, settings?: typeof DURABLE): Promise<BindingTarget>;
  bind(source: string, target: BindingTarget, text: string, args?: Arguments): Promise<void>;
  unbind(source: string, target: BindingTarget, text: string, args?: Arguments): Promise<void>;
  /** Publish and say where it went: the names of queues, in order. */
  went(exchange: string, routingKey: string, values?: Values): string;
}

async function filtered(limits: Partial<Limits> = {}, clock = new SimClock(), disk?: SimDisk): Promise<Filtered> {
  const fixture = await start(limits, clock, disk);
  const { admin } = fixture.broker;
  const drive = <T>(promise: Promise<T>): Promise<T> => clock.drive(promise);
  const client = connect(fixture);
  const producer = client.producer({});
  const queues = () => admin.queues('/').map(({ name, published }) => ({ name, published }));
  const all: Filtered = Object.assign(fixture, {
    decoded: 0,
    async queue(name: string, settings = TRANSIENT): Promise<BindingTarget> {
      await drive(admin.declareQueue('/', name, settings));
      return { kind: 'queue' as const, name };
    },
    bind: (source: string, target: BindingTarget, text: string, args: Arguments = {}) =>
      drive(admin.bind('/', source, target, pattern(text), args)),
    unbind: (source: string, target: BindingTarget, text: string, args: Arguments = {}) =>
      drive(admin.unbind('/', source, target, pattern(text), args)),
    went(exchange: string, routingKey: string, values: Values = {}): string {
      const before = new Map(queues().map(({ name, published }) => [name, published]));
      producer.publish(producer.address(exchange, key(routingKey)), message('x', values, FLAG_DURABLE), 0);
      const grown = queues().filter(({ name, published }) => published > (before.get(name) ?? 0));
      return grown
        .map(({ name }) => name)
        .sort()
        .join(' ');
    },
  });
  fixture.broker.registerFormat({
    id: 1,
    name: 'test',
    toHub(view): HubProperties {
      all.decoded++;
      const values = JSON.parse(view.bytes.toString('utf8', view.headStart, view.headEnd)) as Values;
      return { durable: view.durable, annotations: new Map(), application: Object.entries(values) };
    },
  });
  return all;
}

t.test('a queue gets what its filter lets pass, beside queues that get all', async (t) => {
  const { queue, bind, unbind, went } = await filtered();
  await bind('amq.topic', await queue('all'), '#');
  await bind('amq.topic', await queue('red'), 'a.*', { 'x-filter': "colour = 'red'" });
  await bind('amq.topic', await queue('heavy', DURABLE), 'a.#', { 'x-filter': 'weight > 10' });
  for (let round = 0; round < 2; round++) {
    t.equal(went('amq.topic', 'a.b', { colour: 'red', weight: 5 }), 'all red');
    t.equal(went('amq.topic', 'a.b', { colour: 'red', weight: 50 }), 'all heavy red');
    t.equal(went('amq.topic', 'a.b', { colour: 'blue', weight: 50 }), 'all heavy');
    t.equal(went('amq.topic', 'a.b'), 'all', 'what is not there is unknown');
    t.equal(went('amq.topic', 'a.b.c', { colour: 'red', weight: 50 }), 'all heavy', 'the key must match as well');
    t.equal(went('amq.topic', 'z', { colour: 'red', weight: 50 }), 'all');
  }
  await unbind('amq.topic', { kind: 'queue', name: 'red' }, 'a.*');
  t.equal(went('amq.topic', 'a.b', { colour: 'red' }), 'all red', 'without its filter it is another binding');
  await unbind('amq.topic', { kind: 'queue', name: 'red' }, 'a.*', { 'x-filter': "colour = 'red'" });
  t.equal(went('amq.topic', 'a.b', { colour: 'red' }), 'all');
});

t.test('two bindings to one queue: either is enough, and it comes once', async (t) => {
  const { queue, bind, went, broker } = await filtered();
  const q = await queue('q');
  await bind('amq.topic', q, 'a', { 'x-filter': 'n = 1' });
  await bind('amq.topic', q, 'a', { 'x-filter': 'm = 1' });
  for (const [values, expected] of [
    [{ n: 1, m: 1 }, 1],
    [{ n: 1 }, 2],
    [{ m: 1 }, 3],
    [{}, 3],
  ] as const) {
    went('amq.topic', 'a', values);
    t.equal(broker.admin.queue('/', 'q')?.published, expected);
  }
});

t.test('tags, alone and with a condition', async (t) => {
  const { queue, bind, went } = await filtered();
  await bind('amq.fanout', await queue('tagged'), '', { 'x-filter-tags': 'orders || refunds' });
  await bind('amq.fanout', await queue('both'), '', { 'x-filter-tags': 'orders', 'x-filter': 'total > 100' });
  await bind('amq.fanout', await queue('every'), '', { 'x-filter-tags': '*', 'x-filter': '  ' });
  t.equal(went('amq.fanout', '', { TAGS: 'orders', total: 5 }), 'every tagged');
  t.equal(went('amq.fanout', '', { TAGS: 'orders', total: 500 }), 'both every tagged');
  t.equal(went('amq.fanout', '', { TAGS: 'refunds', total: 500 }), 'every tagged');
  t.equal(went('amq.fanout', '', { total: 500 }), 'every');
});

t.test('the broker knows key, exchange and time of a message', async (t) => {
  const { queue, bind, went, clock } = await filtered();
  await bind('amq.topic', await queue('eu'), '#', { 'x-filter': "message.key LIKE 'orders.eu.%'" });
  await bind('amq.topic', await queue('topic'), '#', { 'x-filter': "message.exchange = 'amq.topic'" });
  await bind('amq.topic', await queue('time'), '#', { 'x-filter': `JMSTimestamp = ${clock.now()}` });
  t.equal(went('amq.topic', 'orders.eu.berlin'), 'eu time topic');
  t.equal(went('amq.topic', 'orders.us'), 'time topic');
});

t.test('filters between exchanges: every one on the way is asked', async (t) => {
  const { queue, bind, went, broker, clock } = await filtered();
  for (const name of ['e1', 'e2', 'e3']) await clock.drive(broker.admin.declareExchange('/', name, FANOUT));
  await bind('e1', { kind: 'exchange', name: 'e2' }, '', { 'x-filter': 'a = 1' });
  await bind('e1', { kind: 'exchange', name: 'e3' }, '', { 'x-filter': 'b = 1' });
  await bind('e3', { kind: 'exchange', name: 'e2' }, '', { 'x-filter': 'c = 1' });
  await bind('e2', await queue('q2'), '', { 'x-filter': 'd <> 1' });
  await bind('e3', await queue('q3'), '');
  for (let round = 0; round < 2; round++) {
    t.equal(went('e1', '', { a: 1, b: 2, d: 0 }), 'q2');
    t.equal(went('e1', '', { a: 1, b: 2, d: 1 }), '');
    t.equal(went('e1', '', { a: 2, b: 1, c: 1, d: 0 }), 'q2 q3', 'the long way');
    t.equal(went('e1', '', { a: 2, b: 1, c: 2, d: 0 }), 'q3');
    t.equal(went('e1', '', { a: 2, b: 2, c: 1, d: 0 }), '');
  }
});

t.test(
  'a message that no filter lets pass is not routed: mandatory comes back, an alternate exchange takes it',
  async (t) => {
    const fixture = await filtered();
    const { queue, bind, went, broker, clock } = fixture;
    await clock.drive(broker.admin.declareExchange('/', 'first', { ...TOPIC, alternate: 'lost' }));
    await clock.drive(broker.admin.declareExchange('/', 'lost', FANOUT));
    await bind('first', await queue('red'), '#', { 'x-filter': "colour = 'red'" });
    await bind('lost', await queue('rest'), '', { 'x-filter': 'n > 0' });
    for (let round = 0; round < 2; round++) {
      t.equal(went('first', 'k', { colour: 'red', n: 1 }), 'red');
      t.equal(went('first', 'k', { colour: 'blue', n: 1 }), 'rest');
      t.equal(went('first', 'k', { colour: 'blue', n: 0 }), '');
    }
    const returned: string[] = [];
    const producer = connect(fixture).producer({ onReturn: (view, code) => returned.push(`${bodyOf(view)} ${code}`) });
    const to = producer.address('first', key('k'));
    const { unroutable } = broker.admin.vhosts()[0]!;
    producer.publish(to, message('kept', { n: 1 }), MANDATORY);
    producer.publish(to, message('back', { n: 0 }), MANDATORY);
    producer.publish(to, message('gone', { n: 0 }), 0);
    t.same(returned, ['back unroutable']);
    t.equal(broker.admin.vhosts()[0]!.unroutable, unroutable + 2);
  },
);

t.test('properties are decoded once a message, and only for a filter whose binding matches by key', async (t) => {
  const fixture = await filtered();
  const { queue, bind, went } = fixture;
  await bind('amq.topic', await queue('plain'), 'plain');
  for (const name of ['a', 'b', 'c']) await bind('amq.topic', await queue(name), 'f.*', { 'x-filter': 'n = 1' });
  await bind('amq.topic', await queue('d'), 'f.*', { 'x-filter': 'n = 2' });
  await bind('amq.topic', { kind: 'exchange', name: 'amq.headers' }, 'f.h');
  await bind('amq.headers', await queue('h'), '', { 'x-match': 'any', n: 1, 'x-filter': 'm = 1' });
  for (let n = 0; n < 5; n++) t.equal(went('amq.topic', 'plain', { n: 1 }), 'plain');
  t.equal(fixture.decoded, 0);
  for (let n = 0; n < 5; n++) t.equal(went('amq.topic', 'f.x', { n: 1 }), 'a b c');
  t.equal(fixture.decoded, 5);
  t.equal(went('amq.topic', 'f.h', { n: 1, m: 1 }), 'a b c h');
  t.equal(went('amq.topic', 'f.h', { n: 1 }), 'a b c');
  t.equal(fixture.decoded, 7, 'a headers exchange on the way shares it');
});

t.test('routes that depend on filters are kept, one for each set of answers', async (t) => {
  const fixture = await filtered();
  const { queue, bind } = fixture;
  await bind('amq.topic', await queue('a'), '#', { 'x-filter': 'n = 1' });
  await bind('amq.topic', await queue('b'), '#', { 'x-filter': 'm = 1' });
  const { router } = fixture.internals.topology.vhosts.get('/')!;
  const exchange = router.get('amq.topic')!;
  const route = (values: Values) =>
    router.route(exchange, key('k'), () => ({
      durable: false,
      annotations: new Map(),
      application: Object.entries(values),
    }));
  const one = route({ n: 1 });
  t.equal(one.version, -1, 'good for one message');
  t.equal(route({ n: 1, other: 2 }), one, 'and found again by its answers');
  t.not(route({ n: 1, m: 1 }), one);
  t.equal(route({ m: 3 }).queues.length, 0);
  t.equal(router.route(exchange, key('k')), route({}), 'without properties nothing is known');
  router.changed();
  t.not(route({ n: 1 }), one);
});

t.test('a headers exchange takes a filter beside its headers, in every mode', async (t) => {
  const { queue, bind, went } = await filtered();
  for (const mode of ['all', 'any', 'all-with-x', 'any-with-x']) {
    await bind('amq.headers', await queue(mode), '', {
      ...{ 'x-match': mode, a: 1, 'x-b': 2 },
      ...{ 'x-filter': 'size > 5', 'x-filter-tags': 'big' },
    });
  }
  const fits = { size: 6, TAGS: 'big' };
  t.equal(went('amq.headers', '', { a: 1, 'x-b': 2, ...fits }), 'all all-with-x any any-with-x');
  t.equal(went('amq.headers', '', { a: 1, ...fits }), 'all any any-with-x');
  t.equal(went('amq.headers', '', { 'x-b': 2, ...fits }), 'any-with-x');
  t.equal(went('amq.headers', '', { a: 1, 'x-b': 2, size: 5, TAGS: 'big' }), '');
  t.equal(went('amq.headers', '', fits), '');
});

t.test('filters survive a restart, from the log and from a checkpoint, whatever the limits are by then', async (t) => {
  const clock = new SimClock();
  const first = await filtered({}, clock, newDisk(clock));
  await clock.drive(first.broker.admin.declareExchange('/', 'next', FANOUT));
  const red = { 'x-filter': "colour = 'red'" };
  await first.bind('amq.topic', await first.queue('red', DURABLE), 'a.*', red);
  await first.bind('amq.topic', { kind: 'exchange', name: 'next' }, 'a.*', { 'x-filter-tags': 'x || y' });
  await first.bind('next', await first.queue('next', DURABLE), '');
  const check = async (disk: SimDisk): Promise<Filtered> => {
    const later = new SimClock();
    const second = await filtered({ filterBytesMax: 5, filterNodesMax: 1 }, later, disk.clone({ clock: later }));
    t.equal(second.went('amq.topic', 'a.b', { colour: 'red', TAGS: 'z' }), 'red');
    t.equal(second.went('amq.topic', 'a.b', { colour: 'blue', TAGS: 'y' }), 'next');
    t.equal(second.went('amq.topic', 'a.b'), '');
    t.same(second.broker.admin.bindings('/', { kind: 'queue', name: 'red' })[0]?.arguments, red);
    await t.rejects(second.bind('amq.topic', { kind: 'queue', name: 'red' }, 'b', red), { code: 'limit-exceeded' });
    return second;
  };
  await check(first.disk);
  await clock.drive(first.internals.checkpointer.run());
  const second = await check(first.disk);
  await second.unbind('amq.topic', { kind: 'queue', name: 'red' }, 'a.*', red);
  const later = new SimClock();
  const third = await filtered({}, later, second.disk.clone({ clock: later }));
  t.equal(third.went('amq.topic', 'a.b', { colour: 'red', TAGS: 'y' }), 'next', 'and what was unbound stays so');
});

t.test('a bad filter is refused with its column and leaves nothing behind', async (t) => {
  const fixture = await filtered({ filterBytesMax: 100 });
  const { queue, bind, broker } = fixture;
  const q = await queue('q');
  const bad: [Arguments, string, RegExp][] = [
    [{ 'x-filter': 'shade IN (1, colour)' }, 'invalid-argument', /filter, column 14: expected a text or a number/],
    [{ 'x-filter': 'a = 1 AND' }, 'invalid-argument', /filter, column \d+:/],
    [{ 'x-filter-tags': 'a || || b' }, 'invalid-argument', /filter, column 5: expected a tag/],
    [{ 'x-filter': 5 }, 'invalid-argument', /x-filter must be text/],
    [{ 'x-filter-tags': ['a'] }, 'invalid-argument', /x-filter-tags must be text/],
    [{ 'x-filter': "a = '\ud800'" }, 'invalid-argument', /x-filter is not plain Unicode text/],
    [{ 'x-filter': `a = '${'x'.repeat(100)}'` }, 'limit-exceeded', /limits.filterBytesMax = 100/],
  ];
  const tap = connect(fixture).tap({ onMessage: () => true });
  for (const [args, code, text] of bad) {
    const refused = { code, message: text };
    await t.rejects(bind('amq.topic', q, 'a', args), refused);
    await t.rejects(bind('amq.headers', q, '', args), refused);
    await t.rejects(bind('amq.topic', { kind: 'exchange', name: 'amq.fanout' }, 'a', args), refused);
    t.throws(() => tap.bind('amq.topic', pattern('a'), args), refused);
    t.throws(
      () =>
        tap.retained(
          'amq.topic',
          pattern('a'),
          () => {},
          () => {},
          args,
        ),
      refused,
    );
  }
  t.same(broker.admin.bindings('/'), []);
  t.equal(broker.admin.vhosts()[0]?.bindings, 0);
});

t.test('taps: a filter on what is published, and on last values', async (t) => {
  const clock = new SimClock();
  const fixture = await filtered({ tailCacheBytesMax: 4096 }, clock, newDisk(clock));
  const client = connect(fixture);
  const seen: string[] = [];
  const tap = client.tap({ onMessage: (view) => seen.push(bodyOf(view)) > 0 });
  const args = { 'x-filter': 'n > 1', 'x-filter-tags': 'x' };
  tap.bind('amq.topic', pattern('#'), args);
  tap.bind('amq.topic', pattern('#'), { ...args });
  const producer = client.producer({});
  const publish = (body: string, values: Values, flags = 0): void =>
    void producer.publish(producer.address('amq.topic', key(body)), message(body, values, flags), 0);
  publish('one', { n: 1, TAGS: 'x' });
  publish('two', { n: 2, TAGS: 'x' });
  publish('other', { n: 2, TAGS: 'y' });
  t.same(seen, ['two']);
  tap.unbind('amq.topic', pattern('#'));
  publish('three', { n: 3, TAGS: 'x' });
  tap.unbind('amq.topic', pattern('#'), args);
  publish('four', { n: 4, TAGS: 'x' });
  t.same(seen, ['two', 'three']);
  for (let n = 0; n < 20; n++)
    publish(`kept${n}`, { n, TAGS: 'x' }, n % 2 === 0 ? FLAG_RETAIN : FLAG_RETAIN | FLAG_DURABLE);
  await fixture.settle();
  const values: string[] = [];
  const filter = { 'x-filter': "n % 5 < 2 AND message.key LIKE 'kept%' AND message.exchange = 'amq.topic'" };
  const shown = new Promise<void>((done) => {
    tap.retained('amq.topic', pattern('#'), (view) => values.push(bodyOf(view)), done, filter);
  });
  await clock.drive(shown);
  t.same(
    values,
    [0, 1, 5, 6, 10, 11, 15, 16].map((n) => `kept${n}`),
  );
});

t.test('dead letters are filtered on their way as any other message', async (t) => {
  const fixture = await filtered();
  const { queue, bind, clock } = fixture;
  await queue('q', { ...DURABLE, arguments: { 'x-dead-letter-exchange': 'amq.fanout' } });
  await bind('amq.fanout', await queue('one', DURABLE), '', { 'x-filter': 'n = 1' });
  await bind('amq.fanout', await queue('early'), '', { 'x-filter': `message.received_at = ${clock.now()} AND n > 0` });
  const client = connect(fixture);
  const producer = client.producer({});
  const to = producer.address('', key('q'));
  for (let n = 0; n < 3; n++) producer.publish(to, message(`${n}`, { n }, FLAG_DURABLE), 0);
  const consumer = collect(client, 'q');
  await fixture.settle();
  consumer.subscription.settle(1, 3, 'discard');
  const [one, early] = [collect(client, 'one'), collect(client, 'early')];
  await fixture.settle();
  t.same(one.bodies, ['1']);
  t.same(early.bodies, ['1', '2'], 'the time is that of the publish');
});

t.test('consumers get what passed, durable and transient', async (t) => {
  const fixture = await filtered();
  const { queue, bind } = fixture;
  await bind('amq.fanout', await queue('kept', DURABLE), '', { 'x-filter': 'n % 3 = 0' });
  await bind('amq.fanout', await queue('volatile'), '', { 'x-filter': 'n % 2 = 0' });
  const client = connect(fixture);
  const producer = client.producer({});
  const to = producer.address('amq.fanout', key(''));
  for (let n = 0; n < 12; n++) producer.publish(to, message(`${n}`, { n }, n < 6 ? FLAG_DURABLE : 0), 0);
  const [kept, volatile] = [collect(client, 'kept'), collect(client, 'volatile')];
  await fixture.settle();
  t.same([...kept.bodies].sort(), ['0', '3', '6', '9']);
  t.same([...volatile.bodies].sort(), ['0', '10', '2', '4', '6', '8']);
});

// ---- Against the definition ---------------------------------------------------------------------------------------

const EXCHANGES = ['e0', 'e1', 'e2', 'e3'];
const NAMES = ['a', 'b', 'c', 'd'];

interface Edge {
  readonly from: string;
  readonly to: BindingTarget;
  readonly text: string;
  /** Passes when the property of this name is 1; undefined: always. */
  readonly name: string | undefined;
}

/** Where a message goes, by the definition. `e0` has the alternate `e1`, that one `e2`, and so on. */
function naive(edges: readonly Edge[], routingKey: string, values: Values): string {
  const queues = new Set<string>();
  const seen = new Set(['e0']);
  let frontier = ['e0'];
  while (frontier.length > 0) {
    const next: string[] = [];
    for (const exchange of frontier) {
      const fits = (edge: Edge): boolean =>
        edge.from === exchange &&
        (edge.text === '#' || edge.text === routingKey) &&
        (edge.name === undefined || values[edge.name] === 1);
      const taken = edges.filter(fits);
      const alternate = EXCHANGES[EXCHANGES.indexOf(exchange) + 1];
      if (taken.length === 0 && alternate !== undefined) next.push(alternate);
      for (const { to } of taken) to.kind === 'queue' ? queues.add(to.name) : next.push(to.name);
    }
    frontier = [...new Set(next)].filter((name) => !seen.has(name));
    for (const name of frontier) seen.add(name);
  }
  return [...queues].sort().join(' ');
}

t.test('cached routes are those of the definition, while bindings come and go', async (t) => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  t.comment(`SEED=${seed}`);
  const random = new Prng(seed);
  const { queue, bind, unbind, went, broker, clock } = await filtered({ routeCacheEntriesMax: random.pick([6, 1000]) });
  for (const [at, name] of EXCHANGES.entries()) {
    const alternate = EXCHANGES[at + 1];
    const settings = alternate === undefined ? TOPIC : { ...TOPIC, alternate };
    await clock.drive(broker.admin.declareExchange('/', name, settings));
  }
  const targets = [...(await Promise.all(NAMES.map((name) => queue(`q${name}`))))];
  for (const name of EXCHANGES) targets.push({ kind: 'exchange', name });
  const edges = new Map<string, Edge>();
  const argsOf = ({ name }: Edge): Arguments => (name === undefined ? {} : { 'x-filter': `${name} = 1` });
  for (let step = 0; step < 150; step++) {
    const name = random.chance(0.3) ? undefined : random.pick(NAMES);
    const edge: Edge = {
      from: random.pick(EXCHANGES),
      to: random.pick(targets),
      text: random.pick(['#', 'k', 'l']),
      name,
    };
    if (edges.delete(JSON.stringify(edge))) {
      await unbind(edge.from, edge.to, edge.text, argsOf(edge));
    } else if (edges.size < 12) {
      edges.set(JSON.stringify(edge), edge);
      await bind(edge.from, edge.to, edge.text, argsOf(edge));
    }
    for (let n = 0; n < 12; n++) {
      const values = Object.fromEntries(NAMES.map((one) => [one, random.below(2)]));
      const routingKey = random.pick(['k', 'l', 'm']);
      const expected = naive([...edges.values()], routingKey, values);
      const found = went('e0', routingKey, values);
      if (found !== expected) {
        t.equal(
          found,
          expected,
          `step ${step}, ${routingKey} ${JSON.stringify(values)}\n${[...edges.keys()].join('\n')}`,
        );
        return;
      }
    }
  }
  t.pass('1,800 messages');
});
