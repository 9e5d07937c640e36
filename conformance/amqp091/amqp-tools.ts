/** The command-line tools of rabbitmq-c (Debian package amqp-tools). */
import assert from 'node:assert/strict';
import { type Case, type ServerUnderTest, unique } from '../case.ts';
import { run, runWell } from './_run.ts';

const url = (server: ServerUnderTest): string => `--url=amqp://guest:guest@${server.host}:${server.amqpPort}/%2f`;

export const cases: Case[] = [
  {
    name: 'amqp-declare-queue, amqp-publish, amqp-get and amqp-delete-queue do what they say',
    needs: ['amqp-declare-queue', 'amqp-publish', 'amqp-get', 'amqp-delete-queue'],
    async run(server) {
      const queue = unique('tools');
      const declared = await runWell('amqp-declare-queue', [url(server), '-d', `--queue=${queue}`]);
      assert.equal(declared.trim(), queue);
      await runWell('amqp-publish', [url(server), `--routing-key=${queue}`, '--persistent', '--body=hello']);
      assert.equal(await runWell('amqp-get', [url(server), `--queue=${queue}`]), 'hello');
      const empty = await run('amqp-get', [url(server), `--queue=${queue}`]);
      assert.notEqual(empty.code, 0, 'an empty queue is told by the exit code');
      assert.equal((await runWell('amqp-delete-queue', [url(server), `--queue=${queue}`])).trim(), '0');
    },
  },
  {
    name: 'amqp-consume gets what was published to an exchange its queue is bound to',
    needs: ['amqp-declare-queue', 'amqp-publish', 'amqp-consume'],
    async run(server) {
      const key = unique('consume');
      const arguments_ = [url(server), '--exchange=amq.topic', `--routing-key=${key}.#`, '--count=3', 'cat'];
      const consumed = runWell('amqp-consume', arguments_);
      // Its queue has no name we know: publish until it has its three messages.
      let done = false;
      const finished = consumed.finally(() => {
        done = true;
      });
      finished.catch(() => undefined);
      for (let i = 0; i < 200 && !done; i++) {
        await runWell('amqp-publish', [url(server), '--exchange=amq.topic', `--routing-key=${key}.x`, '--body=m']);
      }
      assert.equal(await finished, 'mmm');
    },
  },
  {
    name: 'a wrong password ends amqp-get with an error',
    needs: ['amqp-get'],
    async run(server) {
      const wrong = `--url=amqp://guest:wrong@${server.host}:${server.amqpPort}/%2f`;
      const { code, err } = await run('amqp-get', [wrong, '--queue=x']);
      assert.notEqual(code, 0);
      assert.match(err, /403|ACCESS_REFUSED|login|logging in/i);
    },
  },
];
