/** Filters over WebSocket subscriptions, and over bindings made by HTTP. */
import t from 'tap';
import { fileGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

const gateway = await fileGateway();

t.test('a topic subscription with filter and tags: what is published, and retained values', async (t) => {
  const [subscriber, publisher] = [await WsPeer.open(gateway.port), await WsPeer.open(gateway.port)];
  let asked = 0;
  const publish = async (topic: string, headers: object, rest: object = {}): Promise<unknown> =>
    (await publisher.ask({ op: 'publish', id: ++asked, topic, headers, payload: topic, ...rest }))['routed'];
  await publish('s/kept1', { n: 1, TAGS: 'a' }, { retain: true });
  await publish('s/kept2', { n: 2, TAGS: 'a' }, { retain: true });
  await publish('s/kept3', { n: 3, TAGS: 'c' }, { retain: true });
  const subscribe = { op: 'subscribe', topic: 's/#', filter: 'n > 1 OR urgent', tags: 'a || b' };
  t.same(await subscriber.ask({ ...subscribe, id: 's' }), { op: 'ok', id: 's' });
  t.match(await subscriber.next({ op: 'message' }), { topic: 's/kept2', retained: true });
  t.equal(await publish('s/1', { n: 1, TAGS: 'a' }), false);
  t.equal(await publish('s/2', { n: 2, TAGS: 'b' }), true);
  t.equal(await publish('s/3', { n: 2 }), false);
  t.equal(await publish('s/4', { urgent: true, TAGS: 'b' }), true);
  t.match(await subscriber.next({ op: 'message' }), { topic: 's/2', headers: { n: 2 } });
  t.match(await subscriber.next({ op: 'message' }), { topic: 's/4' });
  await subscriber.ask({ op: 'unsubscribe', id: 'u', sub: 's' });
  t.equal(await publish('s/5', { n: 2, TAGS: 'b' }), false);
  t.same(
    subscriber.waiting.filter(({ op }) => op === 'message'),
    [],
  );
  await Promise.all([subscriber.close(), publisher.close()]);
});

t.test('a bad filter is refused, and the connection goes on', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  const refused = { op: 'error', id: 's', code: 'invalid-argument' };
  const subscribe = { op: 'subscribe', id: 's', topic: 'x' };
  const answer = await peer.ask({ ...subscribe, filter: 'shade IN (1, colour)' });
  t.match(answer, { ...refused, message: /filter, column 14: expected a text or a number, found colour/ });
  t.match(await peer.ask({ ...subscribe, tags: '|| a' }), { ...refused, message: /filter, column 1: expected a tag/ });
  t.match(await peer.ask({ ...subscribe, filter: 5 }), refused);
  t.match(await peer.ask({ op: 'subscribe', id: 's', stream: 't', filter: 'a = 1' }), refused, 'not on streams');
  t.match(await peer.ask({ ...subscribe, filter: ' '.repeat(9000) }), { op: 'error', code: 'limit-exceeded' });
  t.match(await peer.ask({ ...subscribe, filter: 'a = 1' }), { op: 'ok' }, 'the id is still free');
  await peer.close();
});

t.test('HTTP: a binding with a filter is made, listed, used and removed', async (t) => {
  const { ask } = gateway;
  await ask('PUT', '/queues/filtered');
  const body = { source: 'amq.topic', queue: 'filtered', key: '#', arguments: { 'x-filter': 'size > 10' } };
  const bad = await ask('POST', '/bindings', { body: { ...body, arguments: { 'x-filter': 'size > > 10' } } });
  t.match([bad.status, bad.json], [400, { error: 'invalid-argument', message: /filter, column 8:/ }]);
  t.same((await ask('GET', '/bindings?queue=filtered')).json, { total: 0, items: [] });
  t.equal((await ask('POST', '/bindings', { body })).status, 204);
  t.match((await ask('GET', '/bindings?queue=filtered')).json, { items: [{ arguments: body.arguments }] });
  const publish = async (size: number): Promise<unknown> =>
    (await ask('POST', '/batch', { body: [{ topic: 'a/b', payload: 'x', headers: { size } }] })).json['results'];
  t.same(await publish(11), [{ routed: true }]);
  t.same(await publish(10), [{ routed: false }]);
  t.equal((await ask('POST', '/bindings/delete', { body })).status, 204);
  t.same(await publish(11), [{ routed: false }]);
});
