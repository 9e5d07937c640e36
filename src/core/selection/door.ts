/** Message groups, as adapters see them. */

/** Groups that are a consumer's. */
export interface PinnedGroups {
  /** Number of the bucket they are in: groups are known by the hash of their id. */
  bucket: number;
  /** Tag of the consumer, and number of its client. */
  tag: string;
  client: number;
  /** Messages of them in its hands. */
  unsettled: number;
  /** It gets no more of them; they are somebody else's once nothing is in its hands. */
  ending: boolean;
}

/** The message groups of a queue. */
export interface MessageGroupsInfo {
  /** How many buckets there are; 0: groups mean nothing in this queue. */
  buckets: number;
  /** Those that are a consumer's. */
  pinned: PinnedGroups[];
}

/** The control plane of message groups. */
export interface MessageGroupAdmin {
  /** Throws `not-found`. */
  info(vhost: string, queue: string): MessageGroupsInfo;
  /** The bucket that a group falls into; -1: groups mean nothing in this queue. Throws `not-found`. */
  bucketOf(vhost: string, queue: string, group: string): number;
  /**
   * Take a group, and all that share its bucket, away from its consumer, once nothing of them is in its hands. Answers whether
   * they were a consumer's. Throws `not-found`.
   */
  release(vhost: string, queue: string, group: string): boolean;
}
