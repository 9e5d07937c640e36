/** The `Format` of what HTTP and WebSocket clients publish. */
import type { Format } from '../core/index.ts';
import { JSON_BATCHES } from './json-batch.ts';
import { hubOfJson, JSON_FORMAT_ID } from './json-message.ts';

export const JSON_FORMAT: Format = { id: JSON_FORMAT_ID, name: 'json', toHub: hubOfJson, batches: JSON_BATCHES };
