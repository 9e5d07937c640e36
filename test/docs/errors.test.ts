import { readFileSync } from 'node:fs';
import t from 'tap';
import { REPLIES, REPLY_OF } from '../../src/adapters/amqp/v091/errors.ts';
import { HTTP_STATUS } from '../../src/adapters/http/errors.ts';
import { connackCode } from '../../src/adapters/mqtt/errors.ts';
import { CoreError, ERRORS, type ErrorCode } from '../../src/core/index.ts';

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

/** The columns of the table, by code. */
const rows = new Map(
  page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map((cells) => [cells[1]?.replaceAll('`', ''), cells.slice(2, -1)]),
);

t.test('docs/errors.md says what the code says', async (t) => {
  t.same([...rows.keys()], Object.keys(ERRORS), 'every code, in the order of the code');
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const [severity, text, meaning, amqp, mqtt, http] = rows.get(code) ?? [];
    t.same([severity, text], [ERRORS[code].severity, ERRORS[code].text], code);
    t.match(meaning, /\.$/, `${code} is explained`);
    if (severity === 'fatal') {
      t.same([amqp, mqtt, http], ['-', '-', '-'], `${code} reaches no client`);
      continue;
    }
    const [replyCode, label] = REPLIES[REPLY_OF[code]];
    t.equal(amqp, `${replyCode} ${label}`, `${code} over AMQP`);
    t.equal(mqtt?.split(' ')[0], String(connackCode(new CoreError(code)) ?? 'close'), `${code} in CONNACK`);
    t.equal(http, String(HTTP_STATUS[code]), `${code} over HTTP`);
  }
});
