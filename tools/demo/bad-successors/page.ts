/** The matrix as one self-contained HTML file, in the style of the demo's report. */
import { REPORT_STYLE } from '../report-style.ts';
import type { MatrixDocument } from './document.ts';
import { describeLosses, describeRunner, describeTimes } from './text.ts';
import type { TrialFacts } from './trial.ts';
import { trialFailures } from './verdict.ts';

const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function row(facts: TrialFacts, index: number): string {
  const failures = trialFailures(facts);
  const cells = [
    facts.name,
    facts.outcome,
    describeRunner(facts),
    describeTimes(facts),
    describeLosses(facts),
    [facts.said ?? '', ...failures.map((line) => `FAIL: ${line}`)].join(' '),
  ];
  const mark = failures.length === 0 ? 'pass' : 'fail';
  const texts = cells.map((cell) => `<td style="text-align:left">${escapeHtml(cell)}</td>`).join('');
  return `<tr><th><span class="${mark}">${index + 1}</span></th>${texts}</tr>`;
}

export function renderPage(document: MatrixDocument): string {
  const { verdict, failures, trials, livevmm, node } = document;
  const heads = [
    '',
    'what the successor does, or what happens',
    'the update is',
    'the guest runs in',
    'times',
    'guest',
    'told',
  ];
  const json = JSON.stringify(document, undefined, 1).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>livevmm demo, bad successors: ${verdict}</title><style>${REPORT_STYLE}</style></head><body>
<h1><span class="${verdict}">${verdict}</span> ${trials.length} updates to bad successors, under DMA</h1>
<p>livevmm ${escapeHtml(livevmm)}, node ${escapeHtml(node)}. One guest with busy devices goes through all of them.</p>
${failures.length > 0 ? `<ul class="failures">${failures.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>` : ''}
<table><tr>${heads.map((head) => `<th style="text-align:left">${head}</th>`).join('')}</tr>
${trials.map(row).join('\n')}</table>
<script type="application/json" id="facts">${json}</script>
</body></html>
`;
}
