/** What the HTTP and WebSocket adapters share about a request: who asks, and from which page. */
import type { IncomingMessage } from 'node:http';
import { CoreError } from '../core/index.ts';
import type { Authenticator, Login } from './auth.ts';
import type { Peer } from './connection.ts';

/** A user name and password. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** The credentials of an `Authorization: Basic` header (RFC 7617); undefined when there is none.
 *  Throws `authentication-failed` for another scheme or broken base64. */
export function basicCredentials(header: string | undefined): Credentials | undefined {
  if (header === undefined) return undefined;
  const match = /^basic +([a-z0-9+/]+={0,2})$/i.exec(header);
  const text = match === null ? '' : Buffer.from(match[1] as string, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw new CoreError('authentication-failed', 'the Authorization header is not `Basic user:password`');
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Log in with credentials, or anonymously without. Rejects with `authentication-failed`. */
export async function loginOf(
  authenticator: Authenticator,
  credentials: Credentials | undefined,
  peer: Peer,
): Promise<Login> {
  const login =
    credentials === undefined
      ? authenticator.anonymous(peer)
      : await authenticator.login(credentials.user, credentials.password, peer);
  if (login === undefined) throw new CoreError('authentication-failed');
  return login;
}

/** The virtual host a login enters: the one asked for, or its own. Throws `access-refused`. */
export function enteredVhost(authenticator: Authenticator, login: Login, asked: string | undefined): string {
  const vhost = asked ?? login.vhost;
  if (!authenticator.mayEnter(login, vhost)) {
    throw new CoreError('access-refused', `user ${login.user} may not enter virtual host ${vhost}`);
  }
  return vhost;
}

/** The rules about which pages may use us. A browser attaches `Origin` by itself and a page cannot forge it. */
export class OriginPolicy {
  readonly #allowed: ReadonlySet<string>;
  readonly #allowedHosts: ReadonlySet<string>;

  /** @param allowedOrigins like `https://app.example.org`; others than our own are refused unless listed */
  constructor(allowedOrigins: readonly string[]) {
    this.#allowed = new Set(allowedOrigins.map((origin) => origin.toLowerCase()));
    this.#allowedHosts = new Set([...this.#allowed].map((origin) => hostOf(origin) ?? ''));
  }

  /** The page comes from another site, and one on the list. */
  listed(origin: string | undefined): boolean {
    return origin !== undefined && this.#allowed.has(origin.toLowerCase());
  }

  /** May a page of the request's origin write to us or read from us? Requests without an origin are no page's. */
  allows(request: IncomingMessage): boolean {
    const { origin, host } = request.headers;
    if (origin === undefined) return request.headers['sec-fetch-site'] !== 'cross-site';
    return this.listed(origin) || (host !== undefined && hostOf(origin) === host.toLowerCase());
  }

  /**
   * May a request without credentials be trusted for its address alone? Only when it calls us by a name of this machine
   * (or of a listed origin): a page of another site can point a name of its own at 127.0.0.1 and would then be "our own".
   */
  allowsAnonymous(request: IncomingMessage): boolean {
    const host = request.headers.host?.toLowerCase();
    if (host === undefined) return true;
    return this.#allowedHosts.has(host) || isLoopbackName(host);
  }
}

/** Host and port of an origin, in lower case. */
function hostOf(origin: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase();
}

/** True for the names of the machine itself, with or without a port. */
function isLoopbackName(host: string): boolean {
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d+)?$/.test(host);
}
