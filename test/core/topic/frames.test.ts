import t from 'tap';
import {
  FRAME_HEADER_BYTES,
  Frames,
  type Unpacked,
  writeBatchHeader,
  writeGap,
} from '../../../src/core/topic/frames.ts';
import { Prng } from '../../../src/testing/prng.ts';

/** What a cursor should stand at: offset, messages in it as a batch (0: a message), and the bytes. */
type Place = readonly [offset: number, sealed: number, text: string];

/** Format byte of batches that can be taken apart, and of others. */
const OPEN = 1;
const OTHER = 2;
const BROKEN = 3;

function framed(text: string): Buffer {
  const bytes = Buffer.from(text);
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32LE(bytes.length, 0);
  return Buffer.concat([header, bytes]);
}

interface Sample {
  readonly bytes: Buffer;
  readonly base: number;
  readonly end: number;
  /** Of a cursor that shows batches of format OTHER as they are. */
  readonly mixed: Place[];
  /** Of one that shows all batches so. */
  readonly whole: Place[];
}

function sample(prng: Prng): Sample {
  const parts: Buffer[] = [];
  const mixed: Place[] = [];
  const whole: Place[] = [];
  const base = prng.below(1000);
  let offset = base;
  for (let n = prng.between(1, 12); n > 0; n--) {
    const act = prng.weighted({ message: 4, gap: 2, batch: 4 });
    if (act === 'message') {
      parts.push(framed(`m${offset}`));
      mixed.push([offset, 0, `m${offset}`]);
      whole.push([offset, 0, `m${offset}`]);
      offset++;
    } else if (act === 'gap') {
      const header = Buffer.alloc(FRAME_HEADER_BYTES);
      const count = prng.between(1, 5);
      writeGap(header, 0, count);
      parts.push(header);
      offset += count;
    } else {
      const format = prng.pick([OPEN, OPEN, OTHER, BROKEN]);
      const count = prng.between(1, 5);
      // One that holds less than it says.
      const held = prng.chance(0.2) ? prng.below(count + 1) : count;
      const text = `${String.fromCharCode(format)}${offset},${held}`;
      const header = Buffer.alloc(8);
      writeBatchHeader(header, 0, text.length, count);
      parts.push(header, Buffer.from(text));
      whole.push([offset, count, text]);
      if (format !== OPEN) mixed.push([offset, count, text]);
      else for (let k = 0; k < held; k++) mixed.push([offset + k, 0, `b${offset + k}`]);
      offset += count;
    }
  }
  return { bytes: Buffer.concat(parts), base, end: offset, mixed, whole };
}

const unpacker = {
  unpack({ bytes, start, after }: Frames): Unpacked | undefined {
    if (bytes[start] !== OPEN) return undefined;
    const [from = 0, held = 0] = bytes
      .toString('latin1', start + 1, after)
      .split(',')
      .map(Number);
    const frames = Array.from({ length: held }, (_, n) => framed(`b${from + n}`));
    let at = 0;
    const places = frames.map((frame) => {
      at += frame.length;
      return at - frame.length;
    });
    return { bytes: Buffer.concat(frames), places: Uint32Array.from(places) };
  },
};

function standing({ offset, sealed, bytes, start, after }: Frames): Place {
  return [offset, sealed, bytes.toString('latin1', start, after)];
}

function walk(frames: Frames): Place[] {
  const seen: Place[] = [];
  for (let n = 0; !frames.ended && n < 1000; n++, frames.advance()) seen.push(standing(frames));
  return seen;
}

const endOf = ([offset, sealed]: Place): number => offset + Math.max(1, sealed);

t.test('messages, gaps and batches, from any offset, whole or taken apart: as a plain walk has it', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const { bytes, base, end, mixed, whole } = sample(prng);
    for (let wanted = base; wanted <= end; wanted++) {
      const all = new Frames();
      all.set(bytes, 0, bytes.length, base, wanted);
      t.strictSame(
        walk(all),
        whole.filter((place) => endOf(place) > wanted),
        `seed ${seed} from ${wanted}, whole`,
      );
      // What is shown as it is because it cannot be taken apart is shown from its first offset on only.
      const wants = ([offset, sealed, text]: Place): boolean =>
        sealed > 0 && text.charCodeAt(0) === BROKEN ? offset >= wanted : endOf([offset, sealed, text]) > wanted;
      const some = new Frames(unpacker, OTHER);
      some.set(bytes, 0, bytes.length, base, wanted);
      t.strictSame(walk(some), mixed.filter(wants), `seed ${seed} from ${wanted}`);
      t.equal(some.offset, end, 'at the end: the offset of what follows');
      const jumping = new Frames(unpacker, OTHER);
      jumping.set(bytes, 0, bytes.length, base, base);
      jumping.seek(prng.between(base, wanted));
      jumping.seek(wanted);
      if (jumping.ended) continue;
      const stands = standing(jumping);
      t.ok(endOf(stands) > wanted && mixed.some((place) => place.join() === stands.join()), `seed ${seed}: seek`);
      t.equal(jumping.bytes.readUInt8(jumping.head + 3) & 0x40, stands[1] > 0 ? 0x40 : 0, 'its frame begins at `head`');
    }
  }
});
