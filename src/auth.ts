/**
 * Who may come in: users with scrypt hashes from the configuration file, `guest` and anonymous peers from this machine
 * only. scrypt runs on libuv's thread pool, which the journal's disk work shares, so few run at once and a bounded
 * number waits; a password that was right once is remembered by a keyed digest, so that ten thousand devices which
 * reconnect cost ten thousand digests and not ten thousand hashes.
 */
import { createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import type { Authenticator, Login } from './adapters/auth.ts';
import type { Peer } from './adapters/connection.ts';
import { Gate } from './core/index.ts';
import { OptionError, type UserOption } from './options.ts';

/** Parameters of new hashes: N = 2^15, r = 8, p = 3, as strong as OWASP's N = 2^17, p = 1, in a quarter of the memory. */
const COST = { ln: 15, r: 8, p: 3 } as const;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** Memory bound for hashes with other parameters: 128 * N * r stays below it or the hash is refused at start. */
const SCRYPT_MEMORY_BYTES_MAX = 256 * 1024 * 1024;
/** Of libuv's four threads, two stay free for the journal. */
const HASHES_AT_ONCE = 2;
/** Different passwords waiting for their hash: about what can be done before the handshake times out. More are refused. */
const HASHES_WAITING_MAX = 128;

interface Hash {
  readonly parameters: ScryptOptions;
  readonly salt: Buffer;
  readonly key: Buffer;
}

function parameters(ln: number, r: number, p: number): ScryptOptions {
  return { N: 2 ** ln, r, p, maxmem: SCRYPT_MEMORY_BYTES_MAX };
}

function derive(password: string, salt: Buffer, keyBytes: number, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, keyBytes, options, (error, key) => (error ? reject(error) : resolve(key)));
  });
}

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');

/** Hash a password for the configuration file: `$scrypt$15.8.3$<salt>$<key>` (log2 N, r, p; base64
 * without padding). No character of it needs quotes in YAML. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, salt, KEY_BYTES, parameters(COST.ln, COST.r, COST.p));
  return `$scrypt$${COST.ln}.${COST.r}.${COST.p}$${base64(salt)}$${base64(key)}`;
}

/** Take a hash string apart. Undefined when it is none, or asks for more memory than we give. */
export function parseHash(text: string): Hash | undefined {
  const match = /^\$scrypt\$(\d{1,2})\.(\d{1,2})\.(\d{1,2})\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{22,})$/.exec(text);
  if (match === null) return undefined;
  const [ln, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (ln < 1 || r < 1 || p < 1 || 128 * 2 ** ln * (r + p) > SCRYPT_MEMORY_BYTES_MAX) return undefined;
  return {
    parameters: parameters(ln, r, p),
    salt: Buffer.from(match[4] as string, 'base64'),
    key: Buffer.from(match[5] as string, 'base64'),
  };
}

interface User {
  readonly login: Login;
  readonly vhosts: ReadonlySet<string>;
  readonly hash: Hash;
  /** Digest of the password that was right last time. */
  proven: Buffer | undefined;
}

export interface AuthOptions {
  readonly users: readonly UserOption[];
  readonly guest: boolean;
  readonly anonymous: boolean;
}

const GUEST: Login = { user: 'guest', vhost: '/', administrator: true };
const ANONYMOUS: Login = { user: '', vhost: '/', administrator: false };

/** The authenticator over the options. */
export class PasswordAuthenticator implements Authenticator {
  readonly #users = new Map<string, User>();
  readonly #guest: boolean;
  readonly #anonymous: boolean;
  readonly #secret = randomBytes(32);
  readonly #gate = new Gate(HASHES_AT_ONCE);
  /** Checks under way by digest: connections that bring the same name and password at the same time share one. */
  readonly #underWay = new Map<string, Promise<Login | undefined>>();
  /** What an unknown user's password is compared with, so that it takes as long as a wrong one of a known user. */
  readonly #decoy: Hash;

  /** Throws an OptionError when a user is listed twice or a hash cannot be used. */
  constructor(options: AuthOptions) {
    for (const { name, password, administrator = false, vhosts = ['/'] } of options.users) {
      const hash = parseHash(password);
      if (this.#users.has(name)) throw new OptionError(`user ${JSON.stringify(name)} is listed twice`, true);
      if (hash === undefined) {
        throw new OptionError(
          `the password of user ${JSON.stringify(name)} is no hash made by \`junctionmq hash-password\``,
          true,
        );
      }
      const home = vhosts[0] === undefined || vhosts[0] === '*' ? '/' : vhosts[0];
      this.#users.set(name, {
        login: { user: name, vhost: home, administrator },
        vhosts: new Set(vhosts),
        hash,
        proven: undefined,
      });
    }
    const [first] = this.#users.values();
    this.#decoy = {
      parameters: first?.hash.parameters ?? parameters(COST.ln, COST.r, COST.p),
      salt: randomBytes(SALT_BYTES),
      key: randomBytes(KEY_BYTES),
    };
    this.#guest = options.guest && !this.#users.has(GUEST.user);
    this.#anonymous = options.anonymous;
  }

  async login(user: string, password: string, peer: Peer): Promise<Login | undefined> {
    const digest = createHmac('sha256', this.#secret).update(`${user}\0${password}`).digest();
    if (this.#guest && user === GUEST.user && peer.loopback) {
      const right = createHmac('sha256', this.#secret).update(`${GUEST.user}\0guest`).digest();
      if (timingSafeEqual(digest, right)) return GUEST;
    }
    const known = this.#users.get(user);
    if (known?.proven !== undefined && timingSafeEqual(known.proven, digest)) return known.login;
    const id = digest.toString('base64');
    let check = this.#underWay.get(id);
    if (check === undefined) {
      if (this.#gate.waiting >= HASHES_WAITING_MAX) return undefined;
      check = this.#gate.run(() => this.#check(password, known, digest)).finally(() => this.#underWay.delete(id));
      this.#underWay.set(id, check);
    }
    return check;
  }

  /** Compare with the user's hash, or with the decoy, whose answer does not count. Never rejects. */
  async #check(password: string, known: User | undefined, digest: Buffer): Promise<Login | undefined> {
    const hash = known?.hash ?? this.#decoy;
    const key = await derive(password, hash.salt, hash.key.length, hash.parameters).catch(() => undefined);
    if (key === undefined || known === undefined || !timingSafeEqual(key, hash.key)) return undefined;
    known.proven = digest;
    return known.login;
  }

  anonymous(peer: Peer): Login | undefined {
    return this.#anonymous && peer.loopback ? ANONYMOUS : undefined;
  }

  mayEnter(login: Login, vhost: string): boolean {
    const user = this.#users.get(login.user);
    if (user !== undefined) return user.vhosts.has(vhost) || user.vhosts.has('*');
    return login.administrator || vhost === login.vhost;
  }
}
