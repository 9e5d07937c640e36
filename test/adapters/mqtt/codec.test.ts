import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import t from 'tap';
import {
  lengthBytes,
  NOT_YET,
  PacketReader,
  REMAINING_LENGTH_MAX,
  STOP,
  TAKEN,
  utf8,
  type Verdict,
  writeLength,
} from '../../../src/adapters/mqtt/codec.ts';
import { CoreError } from '../../../src/core/index.ts';

/** Collects packets as hexadecimal text; answers verdicts from a list, then `TAKEN`. */
class Collector {
  readonly packets: string[] = [];
  readonly verdicts: Verdict[];

  constructor(verdicts: Verdict[] = []) {
    this.verdicts = verdicts;
  }

  onPacket(bytes: Buffer, start: number, body: number, end: number): Verdict {
    const verdict = this.verdicts.shift() ?? TAKEN;
    if (verdict !== NOT_YET) this.packets.push(`${body - start}:${bytes.toString('hex', start, end)}`);
    return verdict;
  }
}

function collect(chunks: readonly Buffer[], packetBytesMax = REMAINING_LENGTH_MAX): string[] {
  const sink = new Collector();
  const reader = new PacketReader(sink, packetBytesMax);
  for (const chunk of chunks) reader.feed(chunk);
  return sink.packets;
}

function frame(first: number, length: number, fill = 0x61): Buffer {
  const header = Buffer.alloc(5);
  header[0] = first;
  const at = writeLength(header, 1, length);
  return Buffer.concat([header.subarray(0, at), Buffer.alloc(length, fill)]);
}

const STREAM = Buffer.concat([
  frame(0xc0, 0),
  frame(0x30, 3),
  frame(0x40, 2),
  frame(0x30, 127),
  frame(0x32, 128),
  frame(0xe0, 0),
  frame(0x30, 700),
]);

t.test('remaining length: bytes and value agree with the encoding of 2.2.3', async (t) => {
  for (const [value, hex] of [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2_097_151, 'ffff7f'],
    [2_097_152, '80808001'],
    [REMAINING_LENGTH_MAX, 'ffffff7f'],
  ] as const) {
    const bytes = Buffer.alloc(5);
    const end = writeLength(bytes, 0, value);
    t.equal(bytes.toString('hex', 0, end), hex);
    t.equal(lengthBytes(value), end);
  }
});

t.test('where the stream is cut does not change what is read from it', async (t) => {
  const whole = collect([STREAM]);
  t.equal(whole.length, 7);
  for (let at = 1; at < STREAM.length; at++) {
    t.strictSame(collect([STREAM.subarray(0, at), STREAM.subarray(at)]), whole, `cut at ${at}`);
  }
  t.strictSame(collect([...STREAM].map((byte) => Buffer.of(byte))), whole, 'byte by byte');
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: STREAM.length - 1 }), { maxLength: 12 }), (cuts) => {
      const borders = [0, ...new Set(cuts.sort((a, b) => a - b)), STREAM.length];
      const chunks = borders.slice(1).map((border, i) => STREAM.subarray(borders[i], border));
      t.strictSame(collect(chunks), whole);
    }),
    { numRuns: 200 },
  );
});

t.test('a packet that crossed a border is not overwritten by the next one', async (t) => {
  const seen: Buffer[] = [];
  const reader = new PacketReader(
    {
      onPacket(bytes, start, _body, end) {
        seen.push(bytes.subarray(start, end));
        return TAKEN;
      },
    },
    1000,
  );
  for (const fill of [1, 2, 3]) {
    const packet = frame(0x30, 20, fill);
    reader.feed(packet.subarray(0, 9));
    reader.feed(packet.subarray(9));
  }
  t.strictSame(
    seen.map((bytes) => bytes[10]),
    [1, 2, 3],
  );
});

t.test('STOP keeps what follows, NOT_YET hands the packet over again', async (t) => {
  const whole = collect([STREAM]);
  for (let at = 1; at < STREAM.length; at += 7) {
    const sink = new Collector([TAKEN, STOP, NOT_YET, TAKEN, NOT_YET, NOT_YET, STOP]);
    const reader = new PacketReader(sink, 1000);
    reader.feed(STREAM.subarray(0, at));
    reader.feed(STREAM.subarray(at));
    for (let i = 0; i < 10; i++) reader.resume();
    t.strictSame(sink.packets, whole, `cut at ${at}`);
  }
});

t.test('a length above the limit is refused before its bytes are kept', async (t) => {
  for (const bytes of ['30ffffff7f', '30e907', '30e9']) {
    const reader = new PacketReader(new Collector(), 1000);
    const feed = () => {
      reader.feed(Buffer.from(bytes, 'hex'));
      reader.feed(Buffer.of(0x07));
    };
    t.throws(feed, { code: 'frame-too-large' });
    t.ok(reader.heldBytes <= 5, 'nothing but the header is held');
  }
  t.equal(collect([frame(0x30, 1000)], 1000).length, 1, 'the limit itself is fine');
});

t.test('an announced length allocates no more than what has come', async (t) => {
  const reader = new PacketReader(new Collector(), REMAINING_LENGTH_MAX);
  const before = process.memoryUsage().arrayBuffers;
  reader.feed(Buffer.from('30ffffff7f', 'hex'));
  reader.feed(Buffer.alloc(10_000));
  t.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  t.equal(reader.heldBytes, 10_005);
});

t.test('a remaining length of five bytes, or longer than need be, is malformed', async (t) => {
  for (const hex of ['30ffffffff01', '3080808000', '308000', '30ff8000']) {
    t.throws(() => collect([Buffer.from(hex, 'hex')]), { code: 'malformed-frame' }, hex);
    t.throws(() => collect([...Buffer.from(hex, 'hex')].map((b) => Buffer.of(b))), { code: 'malformed-frame' }, hex);
  }
});

t.test('before login only a CONNECT may come [MQTT-3.1.0-1]', async (t) => {
  for (const text of ['GET / HTTP/1.1\r\n', 'AMQP\u0000\u0000\u0009\u0001', '\u0016\u0003\u0001']) {
    const reader = new PacketReader(new Collector(), 1000);
    reader.onlyFirstByte = 0x10;
    t.throws(() => reader.feed(Buffer.from(text, 'latin1')), { code: 'protocol-violation' });
  }
});

t.test('random bytes: protocol errors and nothing else, in bounded memory', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (chunks) => {
      const reader = new PacketReader(new Collector(), 500);
      try {
        for (const chunk of chunks) reader.feed(Buffer.from(chunk));
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
      }
      return reader.heldBytes <= 505;
    }),
    { numRuns: 3000 },
  );
});

t.test('packets of mqtt-packet, an independent encoder, are cut where it cuts them', async (t) => {
  const packet = fc.record({
    topic: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((s) => !/[+#\0]/.test(s)),
    payload: fc.uint8Array({ maxLength: 400 }),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    messageId: fc.integer({ min: 1, max: 65_535 }),
    retain: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 10 }), fc.integer({ min: 1, max: 500 }), (packets, size) => {
      const frames = packets.map((p) =>
        mqttPacket.generate({ cmd: 'publish', ...p, payload: Buffer.from(p.payload), dup: false }),
      );
      const stream = Buffer.concat(frames);
      const chunks: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      const read = collect(chunks).map((text) => text.slice(2));
      t.strictSame(
        read,
        frames.map((bytes) => bytes.toString('hex')),
      );
    }),
    { numRuns: 200 },
  );
});

t.test('strings are well-formed UTF-8 without U+0000', async (t) => {
  const read = (hex: string) => {
    const bytes = Buffer.from(hex, 'hex');
    return utf8(bytes, 0, bytes.length, 'text');
  };
  t.equal(read('f09f8ea7'), '🎧');
  t.equal(read('efbbbf61'), '\ufeffa', 'a byte order mark is a character [MQTT-1.5.3-3]');
  for (const hex of ['ff', 'c080', 'eda080', 'eda080edb080', 'e282']) {
    t.throws(() => read(hex), { code: 'malformed-frame' }, `${hex} [MQTT-1.5.3-1]`);
  }
  t.throws(() => read('610062'), { code: 'malformed-frame' }, '[MQTT-1.5.3-2]');
});
