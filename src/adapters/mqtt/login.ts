/** Who may connect, and take up which session. Refusals are `CoreError`s; `errors.ts` makes CONNACK codes of them. */
import { type Broker, CoreError, type Limits } from '../../core/index.ts';
import type { Authenticator, Login } from '../auth.ts';
import type { Peer } from '../connection.ts';
import type { Connect } from './packets.ts';
import { sessionQueue, USER_ARGUMENT } from './subscriptions.ts';

/** Rejects with `authentication-failed`, `access-refused`. */
export async function logIn(authenticator: Authenticator, peer: Peer, packet: Connect): Promise<Login> {
  const { user, password } = packet;
  const login =
    user === undefined
      ? authenticator.anonymous(peer)
      : await authenticator.login(user, password?.toString('utf8') ?? '', peer);
  if (login === undefined) {
    if (user === undefined)
      throw new CoreError('access-refused', 'anonymous clients may not connect from this address');
    throw new CoreError('authentication-failed');
  }
  if (!authenticator.mayEnter(login, login.vhost)) {
    throw new CoreError('access-refused', `${login.user} may not enter the virtual host '${login.vhost}'`);
  }
  return login;
}

/** Throws `invalid-argument` when the broker cannot keep a session under this client id. */
export function checkClientId(packet: Connect, limits: Limits): void {
  if (packet.clientId === '' && !packet.clean) {
    throw new CoreError('invalid-argument', 'a persistent session needs a client id [MQTT-3.1.3-8]');
  }
  const bytes = Buffer.byteLength(sessionQueue(packet.clientId));
  if (bytes > limits.nameBytesMax) {
    throw new CoreError(
      'invalid-argument',
      `the name of the session's queue has ${bytes} bytes, ${limits.nameBytesMax} are allowed`,
    );
  }
}

/**
 * A session belongs to the user who began it: nobody else takes it over or reads what is queued in it.
 * Throws `resource-locked`. @param connectedUser the user connected under this client id now, if any
 */
export function checkOwner(broker: Broker, login: Login, clientId: string, connectedUser: string | undefined): void {
  const stored = broker.admin.queue(login.vhost, sessionQueue(clientId));
  if (connectedUser === undefined && stored === undefined) return;
  const owner = connectedUser ?? stored?.arguments[USER_ARGUMENT];
  if (owner === login.user) return;
  throw new CoreError('resource-locked', `the session ${JSON.stringify(clientId)} belongs to another user`);
}
