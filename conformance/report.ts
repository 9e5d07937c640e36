/** What a conformance run comes to: verdicts against the list of expected gaps, counts, and the report. */

export interface Result {
  readonly passed: boolean;
  readonly skipped: boolean;
  /** Why it failed or was skipped. */
  readonly detail: string;
}

/** `closed gap`: it is listed as an expected gap and passes; that fails the run until the list is mended. */
export type Verdict = 'passed' | 'failed' | 'gap' | 'closed gap' | 'skipped';

export interface Outcome {
  readonly id: string;
  readonly folder: string;
  readonly result: Result;
  readonly verdict: Verdict;
}

/** @param gap the reason in expected-gaps.json, if the case is listed there */
export function judge(result: Result, gap: string | undefined): Verdict {
  if (result.skipped) return 'skipped';
  if (gap !== undefined) return result.passed ? 'closed gap' : 'gap';
  return result.passed ? 'passed' : 'failed';
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly gaps: number;
  readonly skipped: number;
}

export function countsOf(outcomes: readonly Outcome[]): Counts {
  const count = (...verdicts: Verdict[]): number => outcomes.filter(({ verdict }) => verdicts.includes(verdict)).length;
  return {
    passed: count('passed'),
    failed: count('failed', 'closed gap'),
    gaps: count('gap'),
    skipped: count('skipped'),
  };
}

/** Entries of expected-gaps.json that name no case. */
export function staleGaps(gaps: Readonly<Record<string, string>>, outcomes: readonly Outcome[]): string[] {
  const ids = new Set(outcomes.map(({ id }) => id));
  return Object.keys(gaps).filter((id) => !ids.has(id));
}

/** The markdown of report.md: counts by folder, then every case. No dates or durations, so that a run that changed
 *  nothing changes nothing. */
export function reportText(outcomes: readonly Outcome[], gaps: Readonly<Record<string, string>>): string {
  const folders = [...new Set(outcomes.map(({ folder }) => folder))];
  const rows = folders.map((folder) => {
    const counts = countsOf(outcomes.filter((outcome) => outcome.folder === folder));
    return `| ${folder} | ${counts.passed} | ${counts.failed} | ${counts.gaps} | ${counts.skipped} |\n`;
  });
  const sections = folders.map((folder) => {
    const lines = outcomes
      .filter((outcome) => outcome.folder === folder)
      .map(({ id, verdict }) => {
        const reason = verdict === 'gap' ? `: ${gaps[id]}` : '';
        return `- ${verdict === 'passed' ? 'ok' : `**${verdict}**`} ${id}${reason}\n`;
      });
    return `\n## ${folder}\n\n${lines.join('')}`;
  });
  return `# Conformance report

Written by \`npm run conformance\`: third-party clients against one running server.

| folder | passed | failed | expected gaps | skipped |
| --- | --- | --- | --- | --- |
${rows.join('')}${sections.join('')}`;
}
