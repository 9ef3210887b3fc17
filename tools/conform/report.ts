/**
 * The report of a run: a table per group and the first difference of each case, or the same as one
 * JSON document.
 */
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { formatTable } from '../cli/table.ts';
import { decodeAnswer, decodeStep } from './decode.ts';
import { type CaseOutcome, type Difference, isUnexplained } from './outcome.ts';
import { rulesOf } from './rules.ts';
import type { VectorFile } from './vector-file.ts';

export interface Run {
  readonly outcomes: readonly CaseOutcome[];
  readonly profileOf: (file: VectorFile) => ProfileName;
  readonly seconds: number;
}

interface Counts {
  readonly cases: number;
  readonly casesPassed: number;
  readonly casesSkipped: number;
  readonly steps: number;
  readonly stepsPassed: number;
  /** Number of differences that docs/vfio.md explains. */
  readonly accepted: number;
}

/** Whether every difference is explained. */
export const passed = ({ outcomes }: Run): boolean => !outcomes.some(isUnexplained);

function count(outcomes: readonly CaseOutcome[]): Counts {
  const played = outcomes.filter((outcome) => outcome.skipped === undefined);
  const sum = (value: (outcome: CaseOutcome) => number): number => played.reduce((n, outcome) => n + value(outcome), 0);
  return {
    cases: outcomes.length,
    casesPassed: played.filter((outcome) => !isUnexplained(outcome)).length,
    casesSkipped: outcomes.length - played.length,
    steps: sum((outcome) => outcome.case.steps.length),
    stepsPassed: sum((outcome) => outcome.passedSteps),
    accepted: sum(({ differences }) => differences.filter(({ accepted }) => accepted).length),
  };
}

function byFile(outcomes: readonly CaseOutcome[]): ReadonlyMap<VectorFile, readonly CaseOutcome[]> {
  const files = new Map<VectorFile, CaseOutcome[]>();
  for (const outcome of outcomes) {
    const group = files.get(outcome.file) ?? [];
    group.push(outcome);
    files.set(outcome.file, group);
  }
  return files;
}

/** Each text with its number of occurrences, most frequent first. */
function tally(texts: readonly string[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}

export function formatRun(run: Run): string {
  const { outcomes, profileOf, seconds } = run;
  const rows = [...byFile(outcomes)].map(([file, ofFile]) => [file.group, profileOf(file), ...columns(count(ofFile))]);
  const total = count(outcomes);
  const head = ['group', 'profile', 'cases', 'passed', 'steps', 'passed', 'accepted', 'skipped'];
  const parts = [formatTable(head, [...rows, ['all', '', ...columns(total)]])];
  const unexplained = outcomes.filter(isUnexplained);
  parts.push(...unexplained.map(formatCase));
  const explained = outcomes.flatMap(({ differences }) => differences.flatMap(({ accepted }) => accepted ?? []));
  const lines = [
    ...tally(explained.map(({ rule, reason }) => `${rule}: ${reason}`)).map(([text, n]) => `accepted ${n}× ${text}`),
    ...tally(outcomes.flatMap(({ skipped }) => skipped ?? [])).map(([reason, n]) => `skipped ${n} cases: ${reason}`),
    ...tally(outcomes.flatMap(({ notes }) => notes)).map(([note, n]) => `noted ${n}×: ${note}`),
  ];
  if (lines.length > 0) parts.push(`${lines.join('\n')}\n`);
  const verdict = unexplained.length === 0 ? 'no unexplained difference' : `${unexplained.length} cases differ`;
  parts.push(`${verdict} in ${total.steps} steps, ${seconds.toFixed(1)} s\n`);
  return parts.join('\n');
}

const columns = (c: Counts): string[] =>
  [c.cases, c.casesPassed, c.steps, c.stepsPassed, c.accepted, c.casesSkipped].map(String);

/** The longest answer that is shown whole, in characters. */
const MAX_ANSWER = 400;
const shortened = (text: string): string => (text.length > MAX_ANSWER ? `${text.slice(0, MAX_ANSWER)}…` : text);

function formatCase(outcome: CaseOutcome): string {
  const { file, case: vectorCase, differences, failure } = outcome;
  const unexplained = differences.filter(({ accepted }) => !accepted);
  const more = unexplained.length > 1 ? `, and ${unexplained.length - 1} more steps` : '';
  const lines = [`${file.group}/${vectorCase.name}`];
  if (failure !== undefined) lines.push(`  the client could not go on: ${failure}`);
  if (unexplained[0]) lines.push(...formatDifference(file, unexplained[0], more));
  return `${lines.join('\n')}\n`;
}

function formatDifference(file: VectorFile, { step, got }: Difference, more: string): string[] {
  const rules = rulesOf(step);
  return [
    `  ${file.path}:${step.line}${rules ? ` (${rules})` : ''}${more}`,
    `  ${decodeStep(step)}`,
    `  expected  ${shortened(decodeAnswer(step, step.expected))}`,
    `  got       ${shortened(decodeAnswer(step, got))}`,
  ];
}

/** The document of `--json`. */
export function runDocument(run: Run): unknown {
  const { outcomes, profileOf, seconds } = run;
  return {
    verdict: passed(run) ? 'pass' : 'fail',
    seconds,
    ...count(outcomes),
    files: [...byFile(outcomes)].map(([file, ofFile]) => ({
      path: file.path,
      group: file.group,
      profile: profileOf(file),
      ...count(ofFile),
    })),
    differences: outcomes.flatMap((outcome) => outcome.differences.map((one) => differenceDocument(outcome, one))),
    failures: outcomes.flatMap(({ file, case: { name }, failure }) =>
      failure === undefined ? [] : [{ path: file.path, case: name, failure }],
    ),
    skipped: Object.fromEntries(tally(outcomes.flatMap(({ skipped }) => skipped ?? []))),
    notes: Object.fromEntries(tally(outcomes.flatMap(({ notes }) => notes))),
  };
}

function differenceDocument({ file, case: { name } }: CaseOutcome, { step, got, accepted }: Difference): unknown {
  return {
    path: file.path,
    line: step.line,
    group: file.group,
    case: name,
    step: step.text,
    call: decodeStep(step),
    rules: rulesOf(step),
    expected: step.expected,
    got,
    ...(accepted ? { accepted: { rule: accepted.rule, reason: accepted.reason } } : {}),
  };
}
