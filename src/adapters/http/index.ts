/** The HTTP adapter: publish, lease and settle, inspect and declare, health (docs/protocols/http.md). */
import { type Server, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Ajv } from 'ajv';
import { type ConnectionError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import { BATCH_TYPE } from '../json-batch.ts';
import { JSON_FORMAT } from '../json-format.ts';
import type { Log } from '../log.ts';
import { OriginPolicy } from '../web.ts';
import { HttpContext } from './context.ts';
import { headError, httpError } from './errors.ts';
import { pageRoute } from './page.ts';
import { bindingRoutes } from './routes/bindings.ts';
import { connectionRoutes } from './routes/connections.ts';
import { consumerGroupRoutes } from './routes/consumer-groups.ts';
import { consumerRoutes } from './routes/consumers.ts';
import { delayedRoutes } from './routes/delayed.ts';
import { exchangeRoutes } from './routes/exchanges.ts';
import { groupRoutes } from './routes/groups.ts';
import { halfRoutes } from './routes/halves.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes } from './routes/info.ts';
import { leaseRoutes } from './routes/leases.ts';
import { messageIdRoutes } from './routes/message-ids.ts';
import { policyRoutes } from './routes/policies.ts';
import { batchRoutes, publishRoutes } from './routes/publish.ts';
import { queueRoutes } from './routes/queues.ts';
import { redriveRoutes } from './routes/redrives.ts';
import { retainedRoutes } from './routes/retained.ts';
import { streamBatchRoutes } from './routes/stream-batches.ts';
import { streamRoutes } from './routes/streams.ts';
import { transactionRoutes } from './routes/transactions.ts';
import { vhostRoutes } from './routes/vhosts.ts';

export interface HttpAdapterOptions {
  /** May be handed in later, with `start`: the health routes answer before the broker has recovered. */
  broker?: Broker;
  limits: Limits;
  authenticator: Authenticator;
  clock: Clock;
  log: Log;
  /** Of the program, for `/v1/info`. */
  version: string;
  /** What `/health/ready` answers: true from the end of the start until the stop begins. */
  ready(): boolean;
  /** Origins of browser pages, besides our own, that may call us (`https://app.example.org`). */
  allowedOrigins: readonly string[];
}

export interface HttpAdapter {
  /** The server behind it: the WebSocket adapter attaches here. */
  readonly server: Server;
  /** Bind and accept; resolves to the bound port. Rejects with the system error (EADDRINUSE, EACCES, ...). */
  listen(host: string, port: number): Promise<number>;
  /** Serve everything, not only health: the broker has recovered. */
  start(broker: Broker): void;
  /** Refuse new requests, end long polls, requeue what is leased, close every connection. Idempotent. */
  close(): Promise<void>;
}

/** Bytes of a URL path's variable part: Node bounds the whole request head at 16 KiB. */
const PARAM_LENGTH_MAX = 16 * 1024;
/** Requests that are still answered when the stop begins get this long to finish. */
const CLOSE_MS = 1_000;

/** Make the adapter; nothing is bound before `listen`. */
export async function createHttpAdapter(options: HttpAdapterOptions): Promise<HttpAdapter> {
  const { limits, clock, log } = options;
  const context = new HttpContext({ ...options, origins: new OriginPolicy(options.allowedOrigins) });
  const app = makeServer(limits);
  app.setErrorHandler((error, request, reply) => answerError(log, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const body = { error: 'not-found', message: `no route ${request.method} ${request.url.split('?')[0]}` };
    return reply.code(404).send(body);
  });
  crossOrigin(app, context);
  healthRoutes(app, context);
  pageRoute(app);
  app.register(
    (scope, _options, done) => {
      v1(scope, context);
      done();
    },
    { prefix: '/v1' },
  );
  await app.ready();

  const start = (broker: Broker): void => {
    broker.registerFormat(JSON_FORMAT);
    context.start(broker);
  };
  if (options.broker !== undefined) start(options.broker);
  let closing: Promise<void> | undefined;
  return {
    server: app.server,
    start,
    async listen(host, port) {
      await app.listen({ host, port });
      return (app.server.address() as AddressInfo).port;
    },
    close() {
      context.stop();
      closing ??= closeServer(app, clock);
      return closing;
    },
  };
}

function makeServer(limits: Limits): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: Math.min(limits.httpBodyBytesMax, limits.messageBytesMax),
    requestTimeout: limits.httpRequestMs,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    http: { headersTimeout: Math.min(limits.handshakeMs, limits.httpRequestMs) },
    clientErrorHandler: refuseHead,
  });
  app.server.maxConnections = limits.connectionsMax;
  // Queries and paths are text and become what the schema says; a body is JSON and must be that already.
  const coercing = new Ajv({ coerceTypes: true, useDefaults: true, allowUnionTypes: true });
  const strict = new Ajv({ coerceTypes: false, useDefaults: true, allowUnionTypes: true, strictTuples: false });
  app.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'body' ? strict : coercing).compile(schema));
  return app;
}

/** Everything that needs a login. */
function v1(scope: FastifyInstance, context: HttpContext): void {
  scope.decorateRequest('login', null);
  scope.addHook('onRequest', async (request) => {
    void context.serving;
    await context.authenticate(request);
  });
  for (const routes of [
    batchRoutes,
    halfRoutes,
    leaseRoutes,
    retainedRoutes,
    queueRoutes,
    consumerRoutes,
    delayedRoutes,
    groupRoutes,
    policyRoutes,
    redriveRoutes,
    exchangeRoutes,
    bindingRoutes,
    vhostRoutes,
    connectionRoutes,
    infoRoutes,
    streamRoutes,
    consumerGroupRoutes,
    transactionRoutes,
    messageIdRoutes,
  ]) {
    routes(scope, context);
  }
  scope.register((raw, _options, done) => {
    // Bodies of messages are bytes, whatever their type says.
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body));
    publishRoutes(raw, context);
    done();
  });
  scope.register((lines, _options, done) => {
    lines.removeAllContentTypeParsers();
    lines.addContentTypeParser(BATCH_TYPE, { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body));
    streamBatchRoutes(lines, context);
    done();
  });
}

/** Let pages of the listed origins call us (CORS); off when the list is empty. */
function crossOrigin(app: FastifyInstance, context: HttpContext): void {
  const { origins } = context.options;
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    if (origin === undefined || !origins.listed(origin)) return;
    reply.header('access-control-allow-origin', origin).header('vary', 'origin');
    reply.header('access-control-expose-headers', '*, x-lease, x-key, x-topic');
    if (request.method !== 'OPTIONS') return;
    reply.header('access-control-allow-methods', 'GET, POST, PUT, DELETE');
    reply.header('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '');
    reply.header('access-control-max-age', '600');
    await reply.code(204).send();
  });
  app.options('/*', async (_request, reply) => reply.code(204).header('allow', 'GET, POST, PUT, DELETE').send());
}

function answerError(log: Log, thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, body } = httpError(thrown);
  if (status === 500)
    log('error', 'an HTTP request failed', { method: request.method, route: request.url, err: thrown });
  if (status === 401) reply.header('www-authenticate', 'Basic realm="JunctionMQ", charset="UTF-8"');
  if (status === 503) reply.header('retry-after', '1');
  // The body was refused unread: do not wait for the rest of it.
  if (status === 413) reply.header('connection', 'close');
  return reply.code(status).type('application/json; charset=utf-8').send(body);
}

/** Answer what cannot be read as a request, or did not come in time, and end the connection. */
function refuseHead(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return;
  const { status, body } = headError(error);
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy());
}

async function closeServer(app: FastifyInstance, clock: Clock): Promise<void> {
  const force = clock.after(CLOSE_MS, () => app.server.closeAllConnections());
  await app.close();
  force.cancel();
}
