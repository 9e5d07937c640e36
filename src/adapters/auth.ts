/** What adapters ask about a peer's credentials; `src/auth.ts` answers, `server.ts` hands it in. */
import type { Peer } from './connection.ts';

export interface Login {
  /** The name to show and store with messages; empty for anonymous. */
  readonly user: string;
  /** Virtual host this login enters unless the protocol names another. */
  readonly vhost: string;
  /** May use `/api/admin` and declare anything; an ordinary user may use the data plane of its virtual host. */
  readonly administrator: boolean;
}

export interface Authenticator {
  /** Resolves to undefined when the name or password is wrong, or this user may not come from that address. Never rejects.
   *  Takes about the same time for an unknown user as for a wrong password. */
  login(user: string, password: string, peer: Peer): Promise<Login | undefined>;
  /** A peer without credentials: undefined when that is not allowed from its address. */
  anonymous(peer: Peer): Login | undefined;
  /** May this user enter the virtual host? */
  mayEnter(login: Login, vhost: string): boolean;
}
