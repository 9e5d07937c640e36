#!/usr/bin/env bash
# A worker with nothing but curl: leases one message at a time, waiting up to 20 s for it, and acknowledges it when done.
# What it does not acknowledge within the lease comes back to the queue for somebody else.
set -eu
url=${HTTP_URL:-http://127.0.0.1:15672}/v1
head=$(mktemp)
trap 'rm -f "$head"' EXIT
while true; do
  body=$(curl -sS -D "$head" -H 'accept: application/octet-stream' -X POST "$url/queues/readings/lease?wait_ms=20000")
  lease=$(tr -d '\r' <"$head" | sed -n 's/^x-lease: //p')
  [ -n "$lease" ] || continue # nothing came: ask again
  echo "working on: $body"
  curl -sS -X POST "$url/leases/$lease/ack" >/dev/null
done
