import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { METHODS, type MethodName, methodFields, methodName } from '../../../src/adapters/amqp/v091/methods.ts';

t.test('there are 66 methods, each found by its number', (t) => {
  const names = Object.keys(METHODS) as MethodName[];
  t.equal(names.length, 66);
  for (const name of names) t.equal(methodName(METHODS[name].id), name);
  t.equal(new Set(names.map((name) => METHODS[name].id)).size, 66, 'no number twice');
  t.equal(methodName(0), undefined);
  t.end();
});

const FOLDER = '/usr/share/amqp/specs/0-9-1-rabbit';

function specification(): string | undefined {
  try {
    const file = readdirSync(FOLDER).find((name) => name.endsWith('.xml'));
    return file === undefined ? undefined : readFileSync(`${FOLDER}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}

/** What the machine-readable specification calls our types; `timestamp` and `longlong` are the same on the wire. */
function attribute(tag: string, name: string): string | undefined {
  return new RegExp(`${name}="([^"]*)"`).exec(tag)?.[1];
}

const xml = specification();

t.test('the table agrees with the specification', { skip: xml === undefined && 'amqp-specs is not installed' }, (t) => {
  const text = xml as string;
  const domains = new Map<string, string>();
  for (const [tag] of text.matchAll(/<domain [^>]*>/g)) {
    domains.set(attribute(tag, 'name') as string, attribute(tag, 'type') as string);
  }
  let compared = 0;
  for (const [, head = '', body = ''] of text.matchAll(/<class ([^>]*)>([\s\S]*?)<\/class>/g)) {
    const methods = /<method [^>]*\/>|<method ([^>]*)>([\s\S]*?)<\/method>/g;
    for (const [whole, inner = whole, content = ''] of body.matchAll(methods)) {
      const name = `${attribute(head, 'name')}.${attribute(inner, 'name')}` as MethodName;
      const id = (Number(attribute(head, 'index')) << 16) | Number(attribute(inner, 'index'));
      t.equal(METHODS[name]?.id, id, `number of ${name}`);
      const fields = [...content.matchAll(/<field [^>]*>/g)].map(([tag]) => {
        const domain = attribute(tag, 'domain') ?? (attribute(tag, 'type') as string);
        return domains.get(domain) ?? domain;
      });
      t.strictSame(
        methodFields(name).map(([, type]) => type as string),
        fields,
        `arguments of ${name}`,
      );
      compared++;
    }
  }
  t.ok(compared >= 58, `${compared} methods compared`);
  t.end();
});
