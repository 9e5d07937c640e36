import t from 'tap';
import type { Peer } from '../src/adapters/connection.ts';
import { hashPassword, PasswordAuthenticator, parseHash } from '../src/auth.ts';

const here: Peer = { address: '127.0.0.1', port: 1, loopback: true, tls: false };
const away: Peer = { address: '192.0.2.1', port: 1, loopback: false, tls: false };

/** A cheap hash of `secret` (N = 2), for tests that are not about the cost. */
const CHEAP = '$scrypt$1.1.1$AAAAAAAAAAAAAAAAAAAAAA$';
async function cheapHash(password: string): Promise<string> {
  const { scryptSync } = await import('node:crypto');
  const key = scryptSync(password, Buffer.alloc(16), 32, { N: 2, r: 1, p: 1 });
  return CHEAP + key.toString('base64').replace(/=+$/, '');
}

t.test('guest comes in from this machine only, and is an administrator', async (t) => {
  const auth = new PasswordAuthenticator({ users: [], guest: true, anonymous: true });
  t.same(await auth.login('guest', 'guest', here), { user: 'guest', vhost: '/', administrator: true });
  t.equal(await auth.login('guest', 'guest', away), undefined);
  t.equal(await auth.login('guest', 'Guest', here), undefined);
  const closed = new PasswordAuthenticator({ users: [], guest: false, anonymous: true });
  t.equal(await closed.login('guest', 'guest', here), undefined, 'guest can be turned off');
});

t.test('peers without a name come in from this machine only, and are no administrators', async (t) => {
  const auth = new PasswordAuthenticator({ users: [], guest: true, anonymous: true });
  t.same(auth.anonymous(here), { user: '', vhost: '/', administrator: false });
  t.equal(auth.anonymous(away), undefined);
  t.equal(new PasswordAuthenticator({ users: [], guest: true, anonymous: false }).anonymous(here), undefined);
});

t.test('a user with a hash', async (t) => {
  const users = [{ name: 'ops', password: await hashPassword('pä55'), vhosts: ['tests', 'more'] }];
  const auth = new PasswordAuthenticator({ users, guest: true, anonymous: false });
  const login = await auth.login('ops', 'pä55', away);
  t.same(login, { user: 'ops', vhost: 'tests', administrator: false }, 'may come from anywhere');
  t.same(await auth.login('ops', 'pä55', away), login, 'and again, from memory');
  t.equal(await auth.login('ops', 'wrong', away), undefined);
  t.equal(await auth.login('ops', '', away), undefined);
  t.equal(await auth.login('other', 'pä55', away), undefined);
  if (login === undefined) return;
  t.same(
    ['tests', 'more', '/', '*'].map((vhost) => auth.mayEnter(login, vhost)),
    [true, true, false, false],
  );
});

t.test('a user named guest replaces the built-in one', async (t) => {
  const users = [{ name: 'guest', password: await cheapHash('secret') }];
  const auth = new PasswordAuthenticator({ users, guest: true, anonymous: false });
  t.equal(await auth.login('guest', 'guest', here), undefined);
  t.ok(await auth.login('guest', 'secret', away));
});

t.test('a star lets a user enter every virtual host', async (t) => {
  const users = [{ name: 'a', password: await cheapHash('a'), vhosts: ['*'] }];
  const auth = new PasswordAuthenticator({ users, guest: true, anonymous: true });
  const login = await auth.login('a', 'a', here);
  t.match(login, { vhost: '/' });
  t.ok(login !== undefined && auth.mayEnter(login, 'anything'));
  const anonymous = auth.anonymous(here);
  t.ok(anonymous !== undefined && auth.mayEnter(anonymous, '/') && !auth.mayEnter(anonymous, 'anything'));
});

t.test('names and passwords do not run into each other, nor into Object', async (t) => {
  const users = [{ name: 'ab', password: await cheapHash('c') }];
  const auth = new PasswordAuthenticator({ users, guest: false, anonymous: false });
  t.ok(await auth.login('ab', 'c', here));
  t.equal(await auth.login('a', 'bc', here), undefined);
  for (const name of ['__proto__', 'constructor', 'toString', ''])
    t.equal(await auth.login(name, 'c', here), undefined, name);
});

t.test('ten thousand reconnects and many wrong guesses at once all get their answer', async (t) => {
  const users = [{ name: 'device', password: await hashPassword('right') }];
  const auth = new PasswordAuthenticator({ users, guest: false, anonymous: false });
  const logins = await Promise.all(Array.from({ length: 2_000 }, () => auth.login('device', 'right', away)));
  t.equal(logins.filter((login) => login !== undefined).length, 2_000, 'logins at the same time share one check');
  const more = await Promise.all(Array.from({ length: 8_000 }, () => auth.login('device', 'right', away)));
  t.equal(more.filter((login) => login !== undefined).length, 8_000);
});

t.test('the line of waiting logins is bounded: the rest is refused at once', async (t) => {
  const users = [{ name: 'device', password: await cheapHash('right') }];
  const auth = new PasswordAuthenticator({ users, guest: false, anonymous: false });
  const guesses = Array.from({ length: 6_000 }, (_, n) => auth.login('device', `wrong${n}`, away));
  const wrong = await Promise.all(guesses);
  t.ok(wrong.every((login) => login === undefined));
  t.ok(await auth.login('device', 'right', away), 'and afterwards the right one comes in');
});

t.test('hashes that cannot be used are refused at start', async (t) => {
  const good = await hashPassword('x');
  t.ok(parseHash(good));
  t.match(good, /^\$scrypt\$15\.8\.3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  for (const bad of ['', 'secret', good.slice(0, -30), good.replace('$15.', '$25.'), good.replace('.8.', '.0.')]) {
    t.equal(parseHash(bad), undefined, JSON.stringify(bad));
  }
  const options = { guest: true, anonymous: true };
  t.throws(() => new PasswordAuthenticator({ ...options, users: [{ name: 'a', password: 'x' }] }), /user "a"/);
  const twice = { name: 'a', password: good };
  t.throws(() => new PasswordAuthenticator({ ...options, users: [twice, twice] }), /"a" is listed twice/);
});
