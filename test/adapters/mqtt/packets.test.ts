import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import t from 'tap';
import { PacketReader, TAKEN, writeLength } from '../../../src/adapters/mqtt/codec.ts';
import {
  ack,
  CONNACK,
  CONNACK_V5_UNSUPPORTED,
  type Connect,
  connack,
  decodeAck,
  decodeConnect,
  decodeSubscribe,
  decodeUnsubscribe,
  suback,
} from '../../../src/adapters/mqtt/packets.ts';
import { CoreError } from '../../../src/core/index.ts';

type Decode<T> = (bytes: Buffer, body: number, end: number) => T;

/** Decode a whole packet, between other bytes: nothing outside it may be read. */
function decode<T>(packet: Buffer, how: Decode<T>): T {
  let result: { value: T } | undefined;
  const reader = new PacketReader(
    {
      onPacket(bytes, start, body, end) {
        const padded = Buffer.concat([Buffer.alloc(3, 0x7f), bytes.subarray(start, end), Buffer.alloc(40, 0x7f)]);
        result = { value: how(padded, body - start + 3, end - start + 3) };
        return TAKEN;
      },
    },
    1 << 20,
  );
  reader.feed(packet);
  if (result === undefined) throw new Error('no packet');
  return result.value;
}

function parse(packet: Buffer, protocolVersion = 4): unknown {
  let parsed: unknown;
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on('packet', (p: unknown) => {
    parsed = p;
  });
  parser.on('error', (error: unknown) => {
    throw error;
  });
  parser.parse(packet);
  return parsed;
}

const text = fc.string({ maxLength: 30, unit: 'grapheme' }).filter((s) => !s.includes('\0'));
const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
const id = fc.integer({ min: 1, max: 65_535 });

t.test('CONNECT as mqtt-packet writes it', async (t) => {
  const will = fc.record({
    topic: text.filter((s) => s !== '' && !/[+#]/.test(s)),
    payload: bytes,
    qos,
    retain: fc.boolean(),
  });
  const login = fc.record({ username: text.filter((s) => s !== ''), password: fc.option(bytes, { nil: undefined }) });
  fc.assert(
    fc.property(
      fc.record({
        level: fc.constantFrom(3 as const, 4 as const),
        clean: fc.boolean(),
        keepalive: fc.integer({ min: 0, max: 65_535 }),
        clientId: text.filter((s) => s !== ''),
        will: fc.option(will, { nil: undefined }),
        login: fc.option(login, { nil: undefined }),
      }),
      (c) => {
        const packet = mqttPacket.generate({
          cmd: 'connect',
          protocolId: c.level === 3 ? 'MQIsdp' : 'MQTT',
          protocolVersion: c.level,
          clean: c.clean,
          keepalive: c.keepalive,
          clientId: c.clientId,
          ...(c.will === undefined ? {} : { will: c.will }),
          ...(c.login?.username === undefined ? {} : { username: c.login.username }),
          ...(c.login?.password === undefined ? {} : { password: c.login.password }),
        });
        const expected: Connect = {
          level: c.level,
          clean: c.clean,
          keepAliveS: c.keepalive,
          clientId: c.clientId,
          will: c.will === undefined ? undefined : { ...c.will },
          user: c.login?.username,
          password: c.login?.password,
        };
        t.strictSame(decode(packet, decodeConnect), expected);
      },
    ),
    { numRuns: 300 },
  );
});

t.test('SUBSCRIBE and UNSUBSCRIBE as mqtt-packet writes them', async (t) => {
  const filter = text.filter((s) => s !== '');
  fc.assert(
    fc.property(id, fc.array(fc.record({ topic: filter, qos }), { minLength: 1, maxLength: 20 }), (messageId, list) => {
      t.strictSame(decode(mqttPacket.generate({ cmd: 'subscribe', messageId, subscriptions: list }), decodeSubscribe), {
        id: messageId,
        filters: list.map((s) => ({ text: s.topic, qos: s.qos })),
      });
      const topics = list.map((s) => s.topic);
      t.strictSame(
        decode(mqttPacket.generate({ cmd: 'unsubscribe', messageId, unsubscriptions: topics }), decodeUnsubscribe),
        { id: messageId, filters: topics },
      );
    }),
    { numRuns: 200 },
  );
});

t.test('what we write is what mqtt-packet reads', async (t) => {
  for (const code of Object.values(CONNACK)) {
    t.match(
      parse(connack(true, code)),
      { cmd: 'connack', returnCode: code, sessionPresent: code === 0 },
      '[MQTT-3.2.2-4]',
    );
  }
  t.match(parse(CONNACK_V5_UNSUPPORTED, 5), { cmd: 'connack', reasonCode: 0x84 });
  fc.assert(
    fc.property(id, fc.array(fc.constantFrom(0, 1, 128), { minLength: 1, maxLength: 300 }), (messageId, codes) => {
      t.match(parse(suback(messageId, codes)), { cmd: 'suback', messageId, granted: codes });
      t.match(parse(ack(0x50, messageId)), { cmd: 'pubrec', messageId });
      t.match(parse(ack(0xb0, messageId)), { cmd: 'unsuback', messageId });
    }),
    { numRuns: 100 },
  );
});

/** A whole packet around a body given in hexadecimal. */
function packetOf(hex: string): Buffer {
  const body = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const header = Buffer.alloc(5);
  header[0] = 0x10;
  return Buffer.concat([header.subarray(0, writeLength(header, 1, body.length)), body]);
}
const NAME = '0004 4d515454 04';

t.test('malformed packets are refused', async (t) => {
  const cases: [string, Decode<unknown>, string, string][] = [
    ['protocol name [MQTT-3.1.2-1]', decodeConnect, '0004 4d515455 04 02 0000 0001 61', 'protocol-violation'],
    ['reserved flag [MQTT-3.1.2-3]', decodeConnect, `${NAME} 03 0000 0001 61`, 'protocol-violation'],
    ['will QoS without will [MQTT-3.1.2-13]', decodeConnect, `${NAME} 0a 0000 0001 61`, 'protocol-violation'],
    ['will retain without will [MQTT-3.1.2-15]', decodeConnect, `${NAME} 22 0000 0001 61`, 'protocol-violation'],
    ['will QoS 3 [MQTT-3.1.2-14]', decodeConnect, `${NAME} 1e 0000 0001 61 0001 61 0000`, 'protocol-violation'],
    ['password without user [MQTT-3.1.2-22]', decodeConnect, `${NAME} 42 0000 0001 61 0001 61`, 'protocol-violation'],
    ['ends inside the client id', decodeConnect, `${NAME} 02 0000 0005 61`, 'malformed-frame'],
    ['bytes behind the end', decodeConnect, `${NAME} 02 0000 0001 61 00`, 'malformed-frame'],
    ['client id with U+0000 [MQTT-1.5.3-2]', decodeConnect, `${NAME} 02 0000 0001 00`, 'malformed-frame'],
    ['empty CONNECT', decodeConnect, '', 'malformed-frame'],
    ['SUBSCRIBE without filters [MQTT-3.8.3-3]', decodeSubscribe, '0001', 'malformed-frame'],
    ['SUBSCRIBE with id 0 [MQTT-2.3.1-1]', decodeSubscribe, '0000 0001 61 00', 'protocol-violation'],
    ['requested QoS 3 [MQTT-3.8.3-4]', decodeSubscribe, '0001 0001 61 03', 'protocol-violation'],
    ['reserved bits of the QoS byte [MQTT-3.8.3-4]', decodeSubscribe, '0001 0001 61 81', 'protocol-violation'],
    ['filter without QoS', decodeSubscribe, '0001 0001 61', 'malformed-frame'],
    ['UNSUBSCRIBE without filters [MQTT-3.10.3-2]', decodeUnsubscribe, '0001', 'malformed-frame'],
    ['acknowledgement of id 0', decodeAck, '0000', 'protocol-violation'],
    ['acknowledgement too long', decodeAck, '000100', 'malformed-frame'],
    ['acknowledgement too short', decodeAck, '01', 'malformed-frame'],
  ];
  for (const [name, how, hex, code] of cases) t.throws(() => decode(packetOf(hex), how), { code }, name);
});

t.test('other versions are told apart', async (t) => {
  const body = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');
  for (const [hex, level] of [
    ['0004 4d515454 05 02 0000 00 0001 61', 5],
    ['0004 4d515454 84 02 0000 0001 61', 0x84],
    ['0006 4d5149736470 04 02 0000 0001 61', 4],
  ] as const) {
    const packet = body(hex);
    t.strictSame(decodeConnect(packet, 0, packet.length), { level, other: true }, '[MQTT-3.1.2-2]');
  }
});

t.test('random bodies: protocol errors and nothing else', async () => {
  const decoders: Decode<unknown>[] = [decodeConnect, decodeSubscribe, decodeUnsubscribe, decodeAck];
  const prefix = fc.constantFrom('', '00044d51545404', '0001', '00044d51545404c2003c000161');
  fc.assert(
    fc.property(prefix, fc.uint8Array({ maxLength: 80 }), (start, rest) => {
      const body = Buffer.concat([Buffer.from(start, 'hex'), rest]);
      for (const how of decoders) {
        try {
          how(body, 0, body.length);
        } catch (error) {
          if (!(error instanceof CoreError)) throw error;
        }
      }
    }),
    { numRuns: 3000 },
  );
});
