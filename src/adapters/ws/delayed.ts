/** Delayed messages on a JSON WebSocket: list, cancel, fire now, as over HTTP. */
import { CoreError, type DelayAdmin, type Limits } from '../../core/index.ts';
import { delayedJson } from '../delay.ts';
import type { DelayedFrame } from './frames.ts';

/** Items of a list whose frame names no limit. */
const LIMIT_DEFAULT = 1_000;

/** Do what a frame asks; resolves to the members of its answer. Rejects as the calls of `DelayAdmin` do. */
export async function answerDelayed(
  delays: DelayAdmin,
  vhost: string,
  frame: DelayedFrame,
  { listItemsMax }: Limits,
): Promise<object> {
  const { queue } = frame;
  switch (frame.op) {
    case 'delayed': {
      const { after, limit = Math.min(LIMIT_DEFAULT, listItemsMax) } = frame;
      if (limit > listItemsMax) throw new CoreError('invalid-argument', `limit ${limit}; at most ${listItemsMax}`);
      const items = await delays.list(vhost, queue, after === undefined ? { limit } : { limit, after });
      return { items: items.map(delayedJson) };
    }
    case 'cancel':
      await delays.cancel(vhost, queue, frame.handle);
      return { cancelled: true };
    case 'fire':
      await delays.fire(vhost, queue, frame.handle);
      return { fired: true };
  }
}
