import t from 'tap';
import { SharedSettings } from '../../../src/core/queue/shared-settings.ts';

const plain = (args: { [name: string]: never } | object) => ({
  durable: true,
  autoDelete: false,
  exclusive: false,
  arguments: args as { [name: string]: string },
});

t.test('settings that are alike are one object; others are not', async (t) => {
  const shared = new SharedSettings();
  const first = shared.of(plain({ 'x-message-ttl': 5, 'x-overflow': 'drop-head' }));
  t.equal(shared.of(plain({ 'x-message-ttl': 5, 'x-overflow': 'drop-head' })), first);
  t.not(shared.of(plain({ 'x-message-ttl': '5', 'x-overflow': 'drop-head' })), first, 'a text is no number');
  t.not(shared.of({ ...plain({ 'x-message-ttl': 5, 'x-overflow': 'drop-head' }), durable: false }), first);
  t.same(first, plain({ 'x-message-ttl': 5, 'x-overflow': 'drop-head' }));
});

t.test('values without an exact text are left alone, and kinds are bounded', async (t) => {
  const shared = new SharedSettings();
  const odd = plain({ bytes: Buffer.from('a') });
  t.equal(shared.of(odd), odd);
  const first = shared.of(plain({}));
  for (let n = 0; n < 2000; n++) shared.of(plain({ n }));
  t.same(shared.of(plain({})), first);
});
