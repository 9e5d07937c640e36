/**
 * Every limit of the broker: name (with its unit), default, and one line of help. The option table (`src/options.ts`)
 * offers each as `limits.<name>` in the configuration file, and `docs/configuration.md` lists them; a check keeps both in step.
 */
export const LIMITS = {
  connectionsMax: [20_000, 'connections of all protocols together'],
  handshakeMs: [10_000, 'milliseconds a peer may take from connecting to being logged in'],
  frameBytesBeforeLoginMax: [64 * 1024, 'bytes of one frame or packet before login'],
  frameBytesMax: [128 * 1024, 'bytes of one frame, as proposed to peers whose protocol has frames'],
  heartbeatMs: [60_000, 'milliseconds between heartbeats, as proposed to peers whose protocol has them'],
  messageBytesMax: [128 * 1024 * 1024, 'bytes of one message with its properties'],
  routingKeyBytesMax: [65_535, 'bytes of a routing key or topic'],
  routingKeyLevelsMax: [128, 'levels of a routing key, topic or binding pattern'],
  nameBytesMax: [255, 'bytes of the name of a queue, exchange, virtual host or user'],
  connectionOutBytesHigh: [1024 * 1024, 'bytes queued for a connection at which deliveries to it pause'],
  connectionOutBytesMax: [64 * 1024 * 1024, 'bytes queued for a connection at which it is closed as a slow consumer'],
  tapOutBytesMax: [8 * 1024 * 1024, 'bytes queued for a connection at which messages of its taps are dropped'],
  channelsPerConnectionMax: [2047, 'channels of one AMQP connection'],
  subscriptionsPerConnectionMax: [10_000, 'subscriptions of one connection'],
  unsettledPerSubscriptionMax: [65_535, 'unsettled deliveries of one subscription without a credit of its own'],
  unconfirmedBytesMax: [64 * 1024 * 1024, 'journal bytes not yet on disk at which publishers are paused'],
  inflightMessagesMax: [8_192, 'unacknowledged messages to one client that has no way to state a window of its own'],
  partialFrameMs: [30_000, 'milliseconds a peer may take to finish a frame it began, and one second more a KiB'],
  queuesPerVhostMax: [1_000_000, 'queues of one virtual host'],
  exchangesPerVhostMax: [100_000, 'exchanges of one virtual host'],
  bindingsPerVhostMax: [2_000_000, 'bindings of one virtual host'],
  topicsPerVhostMax: [100_000, 'topics of one virtual host'],
  partitionsPerTopicMax: [10_000, 'partitions of one topic'],
  readersPerConnectionMax: [10_000, 'topic readers of one connection'],
  groupsPerVhostMax: [100_000, 'consumer groups of one virtual host'],
  groupMembersMax: [1_000, 'members of one consumer group'],
  groupReleaseMs: [45_000, 'milliseconds a member of a group may take to give a partition up before it is put out'],
  offsetMetadataBytesMax: [4096, 'bytes of the note that goes with a committed offset'],
  topicSealBytes: [1024 * 1024, 'bytes of a partition in the journal at which they are moved to its own files'],
  topicBlockBytes: [256 * 1024, 'bytes of one block of a topic file: what is checked and read at once'],
  topicFileBytes: [64 * 1024 * 1024, 'bytes of one file of a topic, unless the topic says otherwise'],
  topicCacheBytesMax: [32 * 1024 * 1024, 'bytes of topic blocks kept in memory for readers'],
  topicSweepMs: [60_000, 'milliseconds between two looks for messages of topics that are too old'],
  filterBytesMax: [8 * 1024, 'bytes of a filter'],
  filterDepthMax: [64, 'levels of parentheses and operators in a filter'],
  filterNodesMax: [1_000, 'names, values and operators of a filter, values of IN lists included'],
  filterPatternCharsMax: [256, 'characters of a LIKE pattern'],
  exchangeHopsMax: [16, 'exchange-to-exchange bindings a message may pass'],
  deadLetterRetryMs: [10_000, 'milliseconds until a message that its dead letter exchange led nowhere is tried again'],
  transactionItemsMax: [100_000, 'publishes and settlements that one transaction may hold'],
  transactionBytesMax: [16 * 1024 * 1024, 'bytes that one open transaction may hold in memory'],
  transactionsBytesMax: [256 * 1024 * 1024, 'bytes that all open transactions together may hold in memory'],
  retainedPerExchangeMax: [1_000_000, 'retained last values of one exchange'],
  routeCacheEntriesMax: [100_000, 'cached routes of one exchange'],
  internedKeysPerConnectionMax: [4_096, 'routing keys one connection keeps interned'],
  volatileBytesMax: [128 * 1024 * 1024, 'bytes of transient messages kept in memory; more go to the journal unsynced'],
  readAheadBytesMax: [4 * 1024 * 1024, 'bytes one queue reads ahead from the journal'],
  tailCacheBytesMax: [16 * 1024 * 1024, 'bytes of recent journal batches kept in memory'],
  segmentBytes: [64 * 1024 * 1024, 'bytes of one journal segment file'],
  batchBytesMax: [1024 * 1024, 'bytes of one journal batch (a larger record gets a batch of its own)'],
  checkpointLogBytes: [512 * 1024 * 1024, 'journal bytes between two checkpoints'],
  checkpointMs: [300_000, 'milliseconds between two checkpoints when anything changed'],
  sliceMs: [2, 'milliseconds of event-loop time background work may take at once'],
  diskFreeBytesMin: [256 * 1024 * 1024, 'free bytes on the data disk below which publishers are blocked'],
  diskCheckMs: [5_000, 'milliseconds between two looks at the free disk space'],
  leaseMsDefault: [30_000, 'milliseconds an HTTP lease lasts unless the request says otherwise'],
  leaseMsMax: [43_200_000, 'milliseconds an HTTP lease may last'],
  leaseWaitMsMax: [30_000, 'milliseconds an HTTP lease request may wait for messages'],
  leaseMessagesMax: [1_000, 'messages of one HTTP lease request'],
  leaseBytesMax: [16 * 1024 * 1024, 'body bytes at which an HTTP lease request takes no more messages'],
  leaseWaitersMax: [10_000, 'HTTP lease requests that may wait for messages at a time'],
  httpRequestMs: [60_000, 'milliseconds a client may take to send one HTTP request'],
  httpClientIdleMs: [
    60_000,
    'milliseconds after the last HTTP request of a user at which its presence in the broker ends',
  ],
  listItemsMax: [10_000, 'items of one page of an HTTP listing'],
  httpBodyBytesMax: [16 * 1024 * 1024, 'bytes of an HTTP request body'],
  wsFrameBytesMax: [16 * 1024 * 1024, 'bytes of a WebSocket message'],
  wsPingMs: [30_000, 'milliseconds between two WebSocket pings; a peer that misses one is closed'],
  stopMsMax: [10_000, 'milliseconds an orderly stop may take before the process ends itself'],
} as const satisfies Record<string, readonly [number, string]>;

export type LimitName = keyof typeof LIMITS;
export type Limits = { readonly [K in LimitName]: number };

/** The defaults, with some replaced. */
export function limitsWith(changes: Partial<Limits> = {}): Limits {
  const limits = {} as { -readonly [K in LimitName]: number };
  for (const name of Object.keys(LIMITS) as LimitName[]) limits[name] = changes[name] ?? LIMITS[name][0];
  return limits;
}
