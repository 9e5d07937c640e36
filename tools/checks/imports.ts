/**
 * Imports point one way: cli -> server -> adapters -> core/index.ts (DESIGN section 2). Adapters never import each other,
 * the core reaches the machine through `disk.ts` and `clock.ts` alone, and every file is there for somebody.
 */
import { posix } from 'node:path';
import { type Check, type Complaint, filesOf, grep, type Tree } from './check.ts';

interface Import {
  readonly line: number;
  /** Project path for a relative import, else the package or `node:` module. */
  readonly target: string;
}

/** All static and dynamic imports and re-exports of a file. */
export function importsOf(path: string, text: string): Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(
    /^(?:import|export)\b[^'"`;]*?\bfrom\s*'([^']+)'|^import\s*'([^']+)'|\bimport\('([^']+)'\)/gm,
  )) {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    const target = name.startsWith('.') ? posix.join(posix.dirname(path), name) : name;
    // The line of the module's name: an import may span several.
    const line = text.slice(0, match.index + match[0].length).split('\n').length;
    found.push({ line, target });
  }
  return found;
}

interface Rule {
  readonly from: RegExp;
  /** What it may import of the project. */
  readonly may: RegExp;
  /** `node:` modules it may use; all when left out. */
  readonly node?: RegExp;
  readonly packages?: RegExp;
}

/** The first rule whose `from` matches decides. */
const RULES: readonly Rule[] = [
  { from: /^src\/testing\//, may: /^src\/(testing|core)\// },
  {
    from: /^src\/core\/journal\/(node-disk|[a-z]+-lock)\.ts$/,
    may: /^src\/core\//,
    packages: /^$/,
  },
  {
    from: /^src\/core\//,
    may: /^src\/core\//,
    node: /^node:(assert(\/strict)?|buffer|zlib|crypto|os)$/,
    packages: /^$/,
  },
  { from: /^src\/adapters\/[^/]+\.ts$/, may: /^src\/(adapters\/[^/]+\.ts|core\/index\.ts)$/ },
  { from: /^src\/server\.ts$/, may: /^src\/(?!cli|testing)/ },
  { from: /^src\/cli\.ts$/, may: /^src\/(?!testing|adapters)/ },
  { from: /^src\/[^/]+\.ts$/, may: /^src\/([^/]+\.ts|core\/index\.ts|adapters\/[^/]+\.ts)$/ },
];

function allowed(path: string, target: string): boolean {
  const adapter = /^src\/adapters\/([^/]+)\//.exec(path)?.[1];
  if (adapter !== undefined) {
    if (!target.startsWith('src/')) return true;
    return target.startsWith(`src/adapters/${adapter}/`) || /^src\/(adapters\/[^/]+\.ts|core\/index\.ts)$/.test(target);
  }
  const rule = RULES.find(({ from }) => from.test(path));
  if (rule === undefined) return true;
  if (target.startsWith('src/')) return rule.may.test(target);
  if (target.startsWith('node:')) return rule.node === undefined || rule.node.test(target);
  return rule.packages === undefined || rule.packages.test(target);
}

export const importDirection: Check = {
  name: 'import-direction',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /^src\/.*\.ts$/)) {
      for (const { line, target } of importsOf(path, text)) {
        if (!allowed(path, target)) {
          complaints.push({
            path,
            line,
            text: `must not import ${target} (cli -> server -> adapters -> core/index.ts)`,
          });
        }
      }
    }
    return complaints;
  },
};

/** Where a file of `src` may touch what the rest gets handed in, and why. */
const OUTSIDE_WORLD: readonly { word: RegExp; only: RegExp; why: string }[] = [
  {
    word: /\bprocess\.(?!hrtime)[a-zA-Z]+/,
    only: /^src\/(cli\.ts|core\/journal\/(node-disk|[a-z]+-lock)\.ts)$/,
    why: 'only cli.ts reads process.* (and the lock of the data directory its own id)',
  },
  {
    word: /\b(Date\.now|performance\.now|setTimeout|setInterval|setImmediate|Math\.random)\b/,
    only: /^src\/(core\/clock\.ts|core\/journal\/[a-z]+-lock\.ts|testing\/|adapters\/|[^/]+\.ts$)/,
    why: 'the core reads time and chance through Clock, so that the simulation can replay it',
  },
];

export const outsideWorld: Check = {
  name: 'outside-world',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /^src\/.*\.ts$/)) {
      for (const { word, only, why } of OUTSIDE_WORLD) {
        if (!only.test(path))
          complaints.push(...grep(path, withoutComments(text), word, (match) => `${match}: ${why}`));
      }
    }
    return complaints;
  },
};

/** Blank out comments, keeping the lines. Good enough for searching: a comment sign inside a string only hides more. */
export function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');
}

function reachable(tree: Tree, roots: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const open = [...roots];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = tree.get(path);
    if (text === undefined || seen.has(path)) continue;
    seen.add(path);
    for (const { target } of importsOf(path, text)) if (target.startsWith('src/')) open.push(target);
  }
  return seen;
}

/** Files the program need not load, and what they are for. */
const ONLY_FOR_OTHERS: ReadonlyMap<string, string> = new Map([
  ['src/core/dump.ts', 'the state in words: tests compare it before and after a restart'],
  ['src/core/journal/index.ts', 'the door of the journal for tests and benchmarks'],
]);

/** Files the program never loads. `src/testing` is for the tests. */
export const deadFiles: Check = {
  name: 'dead-files',
  run(tree) {
    const alive = reachable(tree, ['src/cli.ts']);
    return [...filesOf(tree, /^src\/(?!testing\/).*\.ts$/)]
      .filter(([path]) => !alive.has(path) && !ONLY_FOR_OTHERS.has(path))
      .map(([path]) => ({ path, line: 0, text: 'is not imported by anything the program starts with' }));
  },
};

/** Exports nobody else names. `server.ts` is the package's own door, so its exports are used by others. */
export const deadExports: Check = {
  name: 'dead-exports',
  run(tree) {
    const files = new Map<string, number>();
    for (const [, text] of filesOf(tree, /\.(ts|mjs)$/)) {
      for (const word of new Set(text.match(/[A-Za-z_$][\w$]*/g))) files.set(word, (files.get(word) ?? 0) + 1);
    }
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /^src\/(?!server\.ts|testing\/).*\.ts$/)) {
      for (const match of text.matchAll(
        /^export (?:async )?(?:abstract )?(?:const|function\*?|class|interface|type) (\w+)/gm,
      )) {
        const name = match[1] as string;
        // A type that only its own file names is still part of what an exported function takes or gives.
        const kind = /^export (interface|type)/.test(match[0]);
        if (kind || files.get(name) !== 1) continue;
        const line = text.slice(0, match.index).split('\n').length;
        complaints.push({ path, line, text: `nothing else uses ${name}: do not export it` });
      }
    }
    return complaints;
  },
};
