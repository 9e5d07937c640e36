/** pika, the Python client (Debian package python3-pika, for the system's own Python). */
import assert from 'node:assert/strict';
import { type Case, type ServerUnderTest, unique } from '../case.ts';
import { runWell } from './_run.ts';

const PYTHON = '/usr/bin/python3';

/** Run a script with `channel`, `connection` and `name` set up; what it prints, line by line. */
async function pika(server: ServerUnderTest, name: string, script: string): Promise<string[]> {
  const setup = `
import sys, pika
parameters = pika.ConnectionParameters('${server.host}', ${server.amqpPort}, '/', pika.PlainCredentials('guest', 'guest'))
connection = pika.BlockingConnection(parameters)
channel = connection.channel()
name = '${name}'
`;
  const out = await runWell(PYTHON, ['-c', `${setup}${script}\nconnection.close()\n`]);
  return out.trim().split('\n');
}

export const cases: Case[] = [
  {
    name: 'pika publishes with confirms, consumes with prefetch, acknowledges',
    needs: [PYTHON],
    async run(server) {
      const lines = await pika(
        server,
        unique('pika'),
        `
channel.queue_declare(name, durable=True)
channel.confirm_delivery()
properties = pika.BasicProperties(delivery_mode=2, headers={'n': 1, 's': 'é', 'l': [1, 2]}, message_id='m')
for i in range(50):
    channel.basic_publish('', name, str(i), properties)
channel.basic_qos(prefetch_count=10)
total = 0
for method, props, body in channel.consume(name, inactivity_timeout=5):
    assert int(body) == total and props.headers == {'n': 1, 's': 'é', 'l': [1, 2]}, (body, props)
    channel.basic_ack(method.delivery_tag)
    total += 1
    if total == 50: break
channel.cancel()
print(total, channel.queue_declare(name, passive=True).method.message_count)
channel.queue_delete(name)`,
      );
      assert.deepEqual(lines, ['50 0']);
    },
  },
  {
    name: 'pika sees a mandatory message come back as unroutable',
    needs: [PYTHON],
    async run(server) {
      const lines = await pika(
        server,
        unique('nowhere'),
        `
channel.confirm_delivery()
try:
    channel.basic_publish('amq.direct', name, 'x', mandatory=True)
except pika.exceptions.UnroutableError as error:
    print(error.messages[0].method.reply_code, error.messages[0].body)`,
      );
      assert.deepEqual(lines, ["312 b'x'"]);
    },
  },
  {
    name: 'pika rejects, requeues and sees the redelivered flag',
    needs: [PYTHON],
    async run(server) {
      const lines = await pika(
        server,
        unique('requeue'),
        `
channel.queue_declare(name, exclusive=True)
channel.basic_publish('', name, 'x')
method, _, _ = channel.basic_get(name)
channel.basic_nack(method.delivery_tag, requeue=True)
method, _, body = channel.basic_get(name)
print(method.redelivered, body)
channel.basic_reject(method.delivery_tag, requeue=False)
print(channel.basic_get(name)[0])`,
      );
      assert.deepEqual(lines, ["True b'x'", 'None']);
    },
  },
  {
    name: 'pika gets the reply code of a channel error',
    needs: [PYTHON],
    async run(server) {
      const lines = await pika(
        server,
        unique('missing'),
        `
try:
    channel.queue_declare(name, passive=True)
except pika.exceptions.ChannelClosedByBroker as error:
    print(error.reply_code)`,
      );
      assert.deepEqual(lines, ['404']);
    },
  },
];
