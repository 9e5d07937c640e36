import t from 'tap';
import { Ledger } from './ledger.ts';

t.test('a confirmed message that never comes out is a violation', async (t) => {
  const ledger = new Ledger();
  const receive = ledger.consumer();
  for (const id of ['a:0', 'a:1', 'a:2']) ledger.sent(id);
  ledger.confirmed('a:0');
  ledger.confirmed('a:1');
  receive('a:0', false);
  ledger.finish();
  t.strictSame(ledger.violations, ['a:1 was confirmed and is lost'], 'a:2 is only uncertain');
});

t.test('a message may repeat until its acknowledgement is durable, never after', async (t) => {
  const ledger = new Ledger();
  const receive = ledger.consumer();
  ledger.sent('a:0');
  receive('a:0', false);
  receive('a:0', true);
  t.strictSame(ledger.violations, []);
  ledger.gone('a:0');
  receive('a:0', true);
  t.strictSame(ledger.violations, ['a:0 came again after its acknowledgement was durable']);
});

t.test('unknown messages and broken order are violations', async (t) => {
  const ledger = new Ledger();
  const receive = ledger.consumer();
  ledger.sent('a:0');
  ledger.sent('a:1');
  receive('a:1', false);
  receive('a:0', false);
  receive('b:0', false);
  ledger.consumer()('a:0', false);
  t.strictSame(ledger.violations, ['a:0 was handed to a consumer after a:1', 'b:0 was received but never sent']);
});
