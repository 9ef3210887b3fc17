/** `livevmm demo --mode bad-successors`: updates that must not lose the guest. */
import { writeFileSync } from 'node:fs';

import { VERSION } from '../../platform/version.ts';
import { UsageError } from '../cli/command.ts';
import { onEndingSignal } from '../cli/signals.ts';
import { StatusLine } from '../cli/status-line.ts';
import { FAILING, KILLED_AT_A_PLACE, killedAtRandom } from '../demo/bad-successors/deaths.ts';
import { makeDocument } from '../demo/bad-successors/document.ts';
import { Matrix } from '../demo/bad-successors/matrix.ts';
import { renderPage } from '../demo/bad-successors/page.ts';
import { REFUSED } from '../demo/bad-successors/refused.ts';
import { onNode, situations } from '../demo/bad-successors/situations.ts';
import { describeDocument, describeTrial } from '../demo/bad-successors/text.ts';
import { TRANSFERS } from '../demo/bad-successors/transfers.ts';
import type { Trial } from '../demo/bad-successors/trial.ts';
import type { MachineOptions } from '../launch/machine.ts';

export interface BadSuccessorsOptions {
  readonly machine: MachineOptions;
  readonly updatesByMapperOnly: boolean;
  /** How many successors are killed at random moments. */
  readonly moments: number;
  /** Other nodes, which must do. */
  readonly nodes: readonly string[];
  /** Only trials whose names contain one of these; none: all. */
  readonly only: readonly string[];
  readonly json: boolean;
  readonly report: string | undefined;
}

/** Resolves to the exit status. */
export async function runBadSuccessors({
  machine,
  updatesByMapperOnly,
  moments,
  nodes,
  only,
  json,
  report,
}: BadSuccessorsOptions): Promise<number> {
  const trials = chosen(
    [
      ...REFUSED,
      ...FAILING,
      ...KILLED_AT_A_PLACE,
      ...killedAtRandom(moments, Math.random),
      ...TRANSFERS,
      ...nodes.map(onNode),
      ...situations(),
    ],
    only,
  );
  const abort = new AbortController();
  const stopListening = onEndingSignal(() => abort.abort());
  const line = new StatusLine(!json);
  try {
    const facts = await new Matrix({
      trials,
      machine,
      updatesByMapperOnly,
      signal: abort.signal,
      began: ({ name }, number) => line.show(`${number} of ${trials.length}: ${name}`),
      tried(facts) {
        line.clear();
        if (!json) process.stdout.write(describeTrial(facts));
      },
    }).run();
    const document = makeDocument(facts, VERSION);
    if (report !== undefined) writeFileSync(report, renderPage(document));
    process.stdout.write(json ? `${JSON.stringify(document, undefined, 2)}\n` : describeDocument(document));
    if (report !== undefined && !json) process.stdout.write(`report: ${report}\n`);
    return document.verdict === 'pass' ? 0 : 1;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    return 130;
  } finally {
    line.clear();
    stopListening();
  }
}

function chosen(trials: readonly Trial[], only: readonly string[]): readonly Trial[] {
  if (only.length === 0) return trials;
  const strange = only.find((text) => !trials.some(({ name }) => name.includes(text)));
  if (strange !== undefined) throw new UsageError(`--only: no row has '${strange}' in its name`);
  return trials.filter(({ name }) => only.some((text) => name.includes(text)));
}
