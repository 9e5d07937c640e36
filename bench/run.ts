/**
 * The bench: starts our server and every installed peer in turn, drives the same load against each from a process of its own,
 * repeats, and prints medians. See README.md here.
 */
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Result } from './load/measure.ts';
import { aedes } from './peers/aedes.ts';
import { junctionPeer, OWN_CLI } from './peers/junction.ts';
import { mosquitto } from './peers/mosquitto.ts';
import type { Peer } from './peers/peer.ts';
import { rabbitmq } from './peers/rabbitmq.ts';
import { type Line, lineOf, median, table } from './report.ts';
import { type Row, SCENARIOS, type Scenario, type Settings } from './scenarios.ts';

const PEERS: readonly Peer[] = [mosquitto, rabbitmq, aedes];

const { values: args } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    seconds: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '1' },
    repeat: { type: 'string', default: '3' },
    peers: { type: 'string' },
    parked: { type: 'string', default: '10000000' },
    dir: { type: 'string', default: tmpdir() },
    cli: { type: 'string', default: OWN_CLI },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const HELP = `npm run bench -- [options]
  --only NAME[,NAME]   scenarios to run (a part of the name will do); --list names them
  --peers NAME[,NAME]  peers to compare with: mosquitto, rabbitmq, aedes; none for ours alone (default: all installed)
  --seconds N          measured seconds of each run (5), after --warmup N (1)
  --repeat N           runs of each, of which the median counts (3)
  --parked N           messages of parked-10m (10000000)
  --dir DIR            where servers keep their data during a run (the system's folder for temporary files)
  --cli FILE           compiled command line of our server (dist/cli.js here), to compare builds
  --json               results as JSON on stdout`;

function number(name: string, text: string | undefined): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} takes a number above 0`);
  return value;
}

const settings: Settings = {
  seconds: number('seconds', args.seconds),
  warmupSeconds: number('warmup', args.warmup),
  parked: number('parked', args.parked),
  cli: args.cli,
};

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

function chosenScenarios(): readonly Scenario[] {
  const parts = args.only.flatMap((text) => text.split(','));
  if (parts.length === 0) return SCENARIOS;
  const unknown = parts.find((part) => !SCENARIOS.some(({ name }) => name.includes(part)));
  if (unknown !== undefined) throw new Error(`no scenario is called ${unknown}; --list names them`);
  return SCENARIOS.filter(({ name }) => parts.some((part) => name.includes(part)));
}

function chosenPeers(): readonly Peer[] {
  const names = args.peers?.split(',');
  const unknown = names?.find((name) => name !== 'none' && !PEERS.some((peer) => peer.name === name));
  if (unknown !== undefined) throw new Error(`no peer is called ${unknown}`);
  const wanted = PEERS.filter(({ name }) => names === undefined || names.includes(name));
  for (const peer of wanted) if (peer.version() === undefined) progress(`${peer.name} is not installed: left out`);
  return [junctionPeer(settings.cli), ...wanted.filter((peer) => peer.version() !== undefined)];
}

/** Median milliseconds of writing 4 KiB and fdatasync where the servers keep their data: the floor of any durable confirm. */
function syncMs(): number {
  mkdirSync(args.dir, { recursive: true });
  const folder = mkdtempSync(join(args.dir, 'junction-bench-'));
  const file = openSync(join(folder, 'sync'), 'w');
  const block = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 101 }, (_, i) => {
    const start = performance.now();
    writeSync(file, block, 0, block.length, i * block.length);
    fdatasyncSync(file);
    return performance.now() - start;
  });
  closeSync(file);
  rmSync(folder, { recursive: true });
  return median(times);
}

/** One run in a fresh folder. */
async function runOnce(scenario: Scenario, peer: Peer): Promise<Row[]> {
  mkdirSync(args.dir, { recursive: true });
  const folder = mkdtempSync(join(args.dir, 'junction-bench-'));
  try {
    if (scenario.runOurs !== undefined) return await scenario.runOurs(folder, settings);
    const server = await peer.start(folder);
    try {
      return (await scenario.run?.(server, settings)) ?? [];
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** All repeats of one scenario, servers in turn so that a slow moment of the machine meets them all. */
async function runScenario(scenario: Scenario, peers: readonly Peer[], failures: string[]): Promise<Line[]> {
  const results = new Map<string, { row: string; server: string; results: Result[] }>();
  const repeats = scenario.runOurs === undefined ? number('repeat', args.repeat) : 1;
  for (let repeat = 1; repeat <= repeats; repeat++) {
    for (const peer of peers) {
      progress(`${scenario.name}: ${peer.name}, run ${repeat} of ${repeats}`);
      try {
        for (const { row, result } of await runOnce(scenario, peer)) {
          const key = `${row}\0${peer.name}`;
          const line = results.get(key) ?? { row, server: peer.name, results: [] };
          results.set(key, line);
          line.results.push(result);
        }
      } catch (error) {
        failures.push(`${scenario.name}, ${peer.name}, run ${repeat}: ${(error as Error).message}`);
        progress(`  failed: ${(error as Error).message}`);
      }
    }
  }
  const lines = [...results.values()].map((line) => lineOf(line.row, line.server, line.results));
  // Rows of one name together: a scenario of two phases gives them in turns.
  return [...new Set(lines.map(({ row }) => row))].flatMap((row) => lines.filter((line) => line.row === row));
}

async function main(): Promise<void> {
  if (args.help) return console.log(HELP);
  if (args.list) return console.log(SCENARIOS.map(({ name, what }) => `${name.padEnd(32)} ${what}`).join('\n'));
  const peers = chosenPeers();
  const fdatasyncMs = syncMs();
  const failures: string[] = [];
  const lines: Line[] = [];
  for (const scenario of chosenScenarios()) {
    const able = peers.filter((peer) => peer.protocols.includes(scenario.protocol));
    lines.push(...(await runScenario(scenario, scenario.runOurs === undefined ? able : able.slice(0, 1), failures)));
  }
  const versions = Object.fromEntries(peers.map((peer) => [peer.name, peer.version()]));
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    fdatasyncMs,
  };
  if (args.json)
    console.log(JSON.stringify({ machine, versions, settings, repeat: Number(args.repeat), lines, failures }));
  else {
    console.log(
      `\n${machine.cores} x ${machine.cpu}, Node ${machine.node}, fdatasync ${fdatasyncMs.toFixed(2)} ms; ${JSON.stringify(versions)}\n`,
    );
    console.log(table(lines));
    for (const failure of failures) console.log(`failed: ${failure}`);
  }
  if (failures.length > 0) process.exitCode = 1;
}

await main();
