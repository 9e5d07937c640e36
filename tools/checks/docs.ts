/** Documents in step with the code: option, limit and exit-code tables, error codes, titles, links. */
import { posix } from 'node:path';
import { ERRORS, type ErrorCode } from '../../src/core/index.ts';
import { documentTables } from '../../src/help.ts';
import { type Check, type Complaint, filesOf, type Tree } from './check.ts';

const CONFIGURATION = 'docs/configuration.md';
const ERROR_PAGE = 'docs/errors.md';

/** The page with every generated table between its markers as the code has it now. */
export function withTables(page: string): string {
  let result = page;
  for (const [name, table] of documentTables()) {
    result = result.replace(
      new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- /${name} -->)`),
      (_all, open: string, close: string) => `${open}${table}${close}`,
    );
  }
  return result;
}

export const optionTables: Check = {
  name: 'option-tables',
  run(tree) {
    const page = tree.get(CONFIGURATION) ?? '';
    const missing = [...documentTables().keys()]
      .filter((name) => !page.includes(`<!-- ${name} -->`))
      .map((name) => ({ path: CONFIGURATION, line: 0, text: `has no table ${name}` }));
    if (missing.length > 0) return missing;
    const text = 'tables are not those of the code: run `npm run check -- --write`';
    return withTables(page) === page ? [] : [{ path: CONFIGURATION, line: 0, text }];
  },
};

const codes = Object.keys(ERRORS) as ErrorCode[];

/** Codes the page's table has a row for: `| `code` | severity | ...`. */
function rowsOf(page: string): Map<string, { line: number; severity: string }> {
  const rows = new Map<string, { line: number; severity: string }>();
  for (const [index, line] of page.split('\n').entries()) {
    const match = /^\| *`([a-z-]+)` *\| *([a-z]+) *\|/.exec(line);
    if (match !== null) rows.set(match[1] as string, { line: index + 1, severity: match[2] as string });
  }
  return rows;
}

export const errorTable: Check = {
  name: 'error-table',
  run(tree) {
    const page = tree.get(ERROR_PAGE);
    if (page === undefined) return [{ path: ERROR_PAGE, line: 0, text: 'is missing' }];
    const rows = rowsOf(page);
    const complaints: Complaint[] = [];
    for (const code of codes) {
      const row = rows.get(code);
      if (row === undefined) complaints.push({ path: ERROR_PAGE, line: 0, text: `has no row for ${code}` });
      else if (row.severity !== ERRORS[code].severity) {
        complaints.push({
          path: ERROR_PAGE,
          line: row.line,
          text: `${code} has severity ${ERRORS[code].severity} in the code`,
        });
      }
    }
    for (const [code, { line }] of rows) {
      if (!(code in ERRORS)) complaints.push({ path: ERROR_PAGE, line, text: `${code} is no error code` });
    }
    return complaints;
  },
};

/** Every adapter says in its `errors.ts` what becomes of every code: by name, or in words for `everything else`. Fatal
 *  ones never reach a peer. */
export const errorMaps: Check = {
  name: 'error-maps',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /^src\/adapters\/[^/]+\/(.*\/)?errors\.ts$/)) {
      if (/\beverything\s+(\* )?else\b/i.test(text)) continue;
      for (const code of codes) {
        if (ERRORS[code].severity === 'fatal' || text.includes(`'${code}'`) || text.includes(`${code}:`)) continue;
        complaints.push({ path, line: 0, text: `does not say what becomes of ${code}` });
      }
    }
    return complaints;
  },
};

/** Lines of a markdown file outside fenced code. */
function* prose(text: string): Generator<[line: number, text: string]> {
  let fenced = false;
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced;
    else if (!fenced) yield [index + 1, line];
  }
}

export const titles: Check = {
  name: 'titles',
  run(tree) {
    const complaints: Complaint[] = [];
    for (const [path, text] of filesOf(tree, /\.md$/)) {
      const found = [...prose(text)].filter(([, line]) => line.startsWith('# '));
      if (found.length !== 1)
        complaints.push({ path, line: found[1]?.[0] ?? 0, text: `has ${found.length} titles, not one` });
    }
    return complaints;
  },
};

function linkComplaints(tree: Tree, path: string, text: string): Complaint[] {
  const complaints: Complaint[] = [];
  const folders = new Set([...tree.keys()].map((file) => posix.dirname(file)));
  for (const [line, content] of prose(text)) {
    for (const match of content.matchAll(/\]\(([^)\s]+)\)/g)) {
      const link = (match[1] as string).replace(/#.*$/, '');
      if (link === '' || /^[a-z]+:/.test(link)) continue;
      const target = posix.join(posix.dirname(path), link).replace(/\/$/, '');
      if (!tree.has(target) && !folders.has(target))
        complaints.push({ path, line, text: `link leads nowhere: ${link}` });
    }
  }
  return complaints;
}

export const links: Check = {
  name: 'links',
  run: (tree) => [...filesOf(tree, /\.md$/)].flatMap(([path, text]) => linkComplaints(tree, path, text)),
};
