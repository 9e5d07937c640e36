/** What a check is: a pure function over the text of the tree, so that each can be tried on a failing sample. */

/** Path (with `/`, relative to the project) -> text. Only files git knows or would take. */
export type Tree = ReadonlyMap<string, string>;

export interface Complaint {
  readonly path: string;
  /** From 1; 0 when it is about the whole file. */
  readonly line: number;
  readonly text: string;
}

export interface Check {
  /** Kebab-case, for `--only`. */
  readonly name: string;
  run(tree: Tree): Complaint[];
}

/** Files of the tree whose path matches, in order. */
export function* filesOf(tree: Tree, pattern: RegExp): Generator<[path: string, text: string]> {
  for (const entry of tree) if (pattern.test(entry[0])) yield entry;
}

/** Every line that matches. `text` gets the match. */
export function grep(path: string, source: string, pattern: RegExp, text: (match: string) => string): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [index, line] of source.split('\n').entries()) {
    const match = pattern.exec(line);
    if (match !== null) complaints.push({ path, line: index + 1, text: text(match[0]) });
  }
  return complaints;
}
