/** Checks on words and sizes. */
import { type Check, type Complaint, filesOf, grep } from './check.ts';

const FILE_LINES_MAX = 500;

/** Files that may be longer, and why. */
const LONG_FILES: ReadonlyMap<string, string> = new Map([]);

/** Functions of more than 70 lines are found by Biome (`noExcessiveLinesPerFunction`). */
export const fileLength: Check = {
  name: 'file-length',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /^(src|test|tools|bench|conformance)\/.*\.(ts|mjs)$/)) {
      const lines = text.split('\n').length - 1;
      if (lines > FILE_LINES_MAX && !LONG_FILES.has(path)) {
        complaints.push({ path, line: 0, text: `has ${lines} lines, more than ${FILE_LINES_MAX}: split it by job` });
      }
    }
    for (const [path] of LONG_FILES) {
      if (!tree.has(path)) complaints.push({ path, line: 0, text: 'is listed as a long file and is not there' });
    }
    return complaints;
  },
};

const PROTOCOL_WORD = /mqtt|amqp|kafka|stomp|rabbit|mosquitto|websocket|\bhttps?\b(?!:\/\/)|\bws\b|\bsqs\b/i;

/** Where the core may name a protocol, and why. */
const MAY_NAME_PROTOCOLS: ReadonlyMap<string, string> = new Map([
  ['src/core/limits.ts', 'the one table of all limits holds those of the adapters too'],
]);

/** Rules of standards may be cited where they are kept: `[MQTT-4.7.2-1]`, `AMQP 0-9-1, 3.1.3.3`. */
const CITATION = /\[MQTT-[\d.]+-\d+\]|(AMQP 0-9-1|MQTT 3\.1\.1), [\d.]+/g;

export const coreWords: Check = {
  name: 'core-words',
  run(tree) {
    return [...filesOf(tree, /^src\/core\//)].flatMap(([path, text]) =>
      MAY_NAME_PROTOCOLS.has(path)
        ? []
        : grep(
            path,
            text.replace(CITATION, ''),
            PROTOCOL_WORD,
            (word) => `${JSON.stringify(word)}: the core knows no protocol`,
          ),
    );
  },
};

// Put together here, so that this file does not complain about itself.
const LEFTOVER = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
const UNFINISHED = new RegExp(`${'[Nn]ot imple' + 'mented'}|under constr${'uction'}`);
const SKIPPED = new RegExp(`\\b(t|test|it|describe|suite)(\\.test)?\\.(sk${'ip'}|to${'do'}|on${'ly'})\\(`);
const MACHINE_PATH = new RegExp(`(^|[^A-Za-z0-9_.])/(wo${'rk'}|fa${'rm'}|ro${'ot'}|ho${'me'}|tm${'p'})/`);

export const leftovers: Check = {
  name: 'leftovers',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /\.(ts|mjs|md|json|ya?ml|sh|html)$|^\.ci\//)) {
      if (path === 'package-lock.json') continue;
      complaints.push(...grep(path, text, MACHINE_PATH, (match) => `path of a machine: ${match.trim()}`));
      if (path.endsWith('.md')) continue;
      complaints.push(...grep(path, text, LEFTOVER, (match) => `leftover: ${match}`));
      complaints.push(...grep(path, text, UNFINISHED, (match) => `unfinished: ${match}`));
      if (/^(test|conformance)\//.test(path)) {
        complaints.push(...grep(path, text, SKIPPED, (match) => `a test left out or alone: ${match}`));
      }
      if (path.startsWith('src/')) {
        complaints.push(...grep(path, text, /\bconsole\.|\bdebugger\b/, (match) => `${match}: say it in the log`));
      }
    }
    return complaints;
  },
};
