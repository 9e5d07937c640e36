/** What the routes share: the broker once it is there, and the answers to "who asks, in which virtual host". */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Broker, type Clock, CoreError, type Limits } from '../../core/index.ts';
import type { Authenticator, Login } from '../auth.ts';
import { peerOf } from '../listener.ts';
import type { Log } from '../log.ts';
import { basicCredentials, enteredVhost, loginOf, type OriginPolicy } from '../web.ts';
import { type HttpClient, HttpClients } from './clients.ts';
import { HalfCalls } from './half-caller.ts';
import { Leases } from './leases.ts';
import { Memberships } from './members.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks: set for every route under `/v1`. */
    login: Login | null;
  }
}

/** The parts that need a broker. */
export interface Serving {
  readonly broker: Broker;
  readonly clients: HttpClients;
  readonly leases: Leases;
  readonly members: Memberships;
  readonly halfCalls: HalfCalls;
}

export interface ContextOptions {
  readonly limits: Limits;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly origins: OriginPolicy;
  ready(): boolean;
}

export class HttpContext {
  readonly options: ContextOptions;
  #serving: Serving | undefined;

  constructor(options: ContextOptions) {
    this.options = options;
  }

  get limits(): Limits {
    return this.options.limits;
  }

  /** The parts that need a broker. Throws `stopping` before the start and after the stop. */
  get serving(): Serving {
    if (this.#serving === undefined) throw new CoreError('stopping', 'or not started yet');
    return this.#serving;
  }

  get broker(): Broker {
    return this.serving.broker;
  }

  start(broker: Broker): void {
    const { limits, clock, log } = this.options;
    const clients = new HttpClients(broker, limits, clock);
    const halfCalls = new HalfCalls(broker, limits, clock, log);
    broker.admin.halves.setCaller(halfCalls.call);
    const leases = new Leases(clients, clock, limits);
    const members = new Memberships(clients, clock, limits);
    this.#serving = { broker, clients, leases, members, halfCalls };
  }

  /** Requeue what is leased, leave groups, and end the users' presence. Idempotent. */
  stop(): void {
    const serving = this.#serving;
    this.#serving = undefined;
    serving?.halfCalls.close();
    serving?.leases.close();
    serving?.members.close();
    serving?.clients.close('stopping');
  }

  /** Find out who asks. Rejects with `authentication-failed`, or `access-refused` for a page of another site. */
  async authenticate(request: FastifyRequest): Promise<void> {
    const { authenticator, origins } = this.options;
    if (!origins.allows(request.raw)) {
      throw new CoreError(
        'access-refused',
        `pages of ${request.headers.origin ?? 'another site'} may not call this server`,
      );
    }
    const credentials = basicCredentials(request.headers.authorization);
    if (credentials === undefined && !origins.allowsAnonymous(request.raw)) {
      throw new CoreError('authentication-failed', 'without credentials, call this server as localhost');
    }
    request.login = await loginOf(authenticator, credentials, peerOf(request.raw.socket));
  }

  /** Who asks, on a route that has been through `authenticate`. */
  login(request: FastifyRequest): Login {
    if (request.login === null) throw new CoreError('authentication-failed');
    return request.login;
  }

  /** The virtual host a request is about: `?vhost=`, or the user's own. Throws `access-refused`, `not-found`. */
  vhost(request: FastifyRequest): string {
    const asked = (request.query as { vhost?: string }).vhost;
    return enteredVhost(this.options.authenticator, this.login(request), asked);
  }

  /** The virtual host of a request that changes or shows what belongs to all its users. */
  adminVhost(request: FastifyRequest): string {
    this.requireAdministrator(request);
    return this.vhost(request);
  }

  /** Throws `access-refused` unless an administrator asks. */
  requireAdministrator(request: FastifyRequest): void {
    if (!this.login(request).administrator) throw new CoreError('access-refused', 'only an administrator may do this');
  }

  /** Run `task` with the presence of the user who asks. */
  async withClient<T>(request: FastifyRequest, task: (client: HttpClient) => Promise<T>): Promise<T> {
    const { clients } = this.serving;
    const client = clients.acquire(this.vhost(request), this.login(request));
    try {
      return await task(client);
    } finally {
      clients.release(client);
    }
  }

  /** Headers for bytes that somebody published: a browser must neither run them nor guess what they are. */
  quarantine(reply: FastifyReply): FastifyReply {
    return reply
      .header('content-security-policy', "sandbox; default-src 'none'")
      .header('x-content-type-options', 'nosniff')
      .header('cache-control', 'no-store');
  }
}
