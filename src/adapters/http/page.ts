/** The page at `/`: what runs here, how to begin, and a live view of topics over the WebSocket. */
import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';

const STYLE = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
  pre { background: #f4f4f2; padding: .8rem; overflow-x: auto; border-radius: 4px; }
  form { display: flex; gap: .5rem; margin: .5rem 0; flex-wrap: wrap; }
  input { font: inherit; padding: .2rem .5rem; flex: 1; min-width: 8rem; }
  button { font: inherit; padding: .2rem .8rem; }
  table { width: 100%; border-collapse: collapse; margin-top: .5rem; }
  td { border-top: 1px solid #ddd; padding: .2rem .5rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
  #state { color: #666; }`;

/** Plain browser JavaScript: it is served as it stands. Received text is only ever set as text, never as HTML. */
const SCRIPT = `
'use strict';
const ROWS_MAX = 100;
const show = (id, text) => { document.getElementById(id).textContent = text; };
let socket, requests = 0;

function connect() {
  const url = new URL('ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  socket = new WebSocket(url, 'junction.json');
  socket.onopen = () => { show('state', 'connected'); subscribe(); };
  socket.onclose = (event) => {
    show('state', 'closed (' + event.code + ' ' + event.reason + '), trying again');
    setTimeout(connect, 2000);
  };
  socket.onmessage = (event) => received(JSON.parse(event.data));
}

function send(frame) { socket.send(JSON.stringify(frame)); }

let current;
function subscribe() {
  if (current !== undefined) send({ op: 'unsubscribe', sub: current });
  current = ++requests;
  send({ op: 'subscribe', id: current, topic: document.getElementById('filter').value });
}

function received(frame) {
  if (frame.op === 'error') show('state', frame.code + ': ' + frame.message);
  if (frame.op === 'ok' && frame.id === current) show('state', 'subscribed');
  if (frame.op === 'dropped') show('state', frame.count + ' messages were dropped: this page is too slow');
  if (frame.op !== 'message') return;
  const row = document.getElementById('messages').insertRow(0);
  const text = frame.encoding === 'utf8' ? frame.payload : '(base64) ' + frame.payload;
  for (const cell of [new Date(frame.received_at_ms).toLocaleTimeString(), frame.topic, text]) {
    row.insertCell().textContent = cell;
  }
  if (row.parentNode.rows.length > ROWS_MAX) row.parentNode.deleteRow(ROWS_MAX);
}

document.getElementById('watch').onsubmit = (event) => { event.preventDefault(); subscribe(); };
document.getElementById('publish').onsubmit = (event) => {
  event.preventDefault();
  const value = (id) => document.getElementById(id).value;
  send({ op: 'publish', id: ++requests, topic: value('topic'), payload: value('payload') });
};
connect();
`;

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>JunctionMQ</title>
<style>${STYLE}</style>
</head>
<body>
<h1>JunctionMQ</h1>
<p>One broker for MQTT, AMQP, HTTP and WebSocket clients. This is its HTTP port:
<a href="health/ready">health</a>, <a href="v1/info">about this server</a>, <a href="v1/queues">queues</a>,
<a href="v1/exchanges">exchanges</a>, <a href="v1/connections">connections</a>.</p>
<h2>Watch topics</h2>
<form id="watch"><input id="filter" value="#" aria-label="topic filter"><button>Subscribe</button></form>
<form id="publish"><input id="topic" value="sensors/kitchen/temp" aria-label="topic">
<input id="payload" value="21.5" aria-label="payload"><button>Publish</button></form>
<p id="state" role="status">connecting</p>
<table><tbody id="messages"></tbody></table>
<h2>From a shell</h2>
<pre>
curl -X POST --data-binary 21.5 http://localhost:15672/v1/topics/sensors/kitchen/temp
curl -u guest:guest -X PUT http://localhost:15672/v1/queues/jobs
curl -X POST --data-binary 'job one' http://localhost:15672/v1/queues/jobs/messages
curl -X POST 'http://localhost:15672/v1/queues/jobs/lease?max=10&amp;wait_ms=5000'
curl -X POST http://localhost:15672/v1/leases/LEASE/ack
</pre>
<script>${SCRIPT}</script>
</body>
</html>
`;

/** Only this very script and style may run, and the page may talk only to us. */
const POLICY = [
  "default-src 'none'",
  `script-src '${hash(SCRIPT)}'`,
  `style-src '${hash(STYLE)}'`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function hash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

export function pageRoute(app: FastifyInstance): void {
  app.get('/', async (_request, reply) =>
    reply
      .header('content-security-policy', POLICY)
      .header('x-content-type-options', 'nosniff')
      .type('text/html; charset=utf-8')
      .send(PAGE),
  );
}
