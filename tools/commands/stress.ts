/**
 * `livevmm stress`: random work of many clients under DMA, execs and kills, with the invariants
 * checked all the time.
 */

import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../iommu/kernel/core/profile.ts';
import { VERSION } from '../../platform/version.ts';
import { type Command, oneOf, parseOptions, wholeNumber } from '../cli/command.ts';
import { onEndingSignal } from '../cli/signals.ts';
import { StatusLine } from '../cli/status-line.ts';
import { DEFECT_NAMES } from '../stress/defects.ts';
import type { Totals } from '../stress/outcome.ts';
import { formatDocument, makeDocument } from '../stress/report.ts';
import { type RunPlan, runStress } from '../stress/run.ts';

const HELP = `Usage: livevmm stress [--seconds S] [--seed N] [--workers W] [--profile VERSION] [--json]

Hosts with busy devices, and on each several client processes that map, unmap, update vaddrs, copy by DMA, exec themselves and are
killed, all at random; one of them sends garbage. The host's kernel is replaced under them, too. After every step each knows what must hold: guarded memory that no device
may change, translations that never fault, counts, interrupts, answers. The first thing that is wrong ends the run.

  --seconds S         about how long it takes (default 60)
  --seed N            decides what the clients do; how they interleave is the machine's affair (default: another one each time)
  --workers W         hosts at a time (default: one for each CPU)
  --profile VERSION   which kernel's VFIO the hosts answer as: ${PROFILE_NAMES.join(', ')}
  --json              print one JSON document

To show that it can fail, one thing is done wrong:
  --inject DEFECT     ${DEFECT_NAMES.join(' | ')}

Exit status: 0 clean, 1 broken: then it prints the seed, the last events of each client and the command that does it again.
`;

const MAX_WORKERS = 64;
const MAX_SECONDS = 7 * 86_400;
const MAX_SEED = 2 ** 32 - 1;

export const stress: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      workers: { type: 'string', default: String(Math.min(availableParallelism(), MAX_WORKERS)) },
      profile: { type: 'string', default: DEFAULT_PROFILE },
      json: { type: 'boolean', default: false },
      inject: { type: 'string' },
    });
    const plan: RunPlan = {
      seconds: wholeNumber('seconds', options.seconds, 1, MAX_SECONDS),
      seed: options.seed === undefined ? randomInt(MAX_SEED) : wholeNumber('seed', options.seed, 0, MAX_SEED),
      workers: wholeNumber('workers', options.workers, 1, MAX_WORKERS),
      profile: oneOf('profile', options.profile, PROFILE_NAMES),
      inject: options.inject === undefined ? undefined : oneOf('inject', options.inject, DEFECT_NAMES),
    };
    const asked = new AbortController();
    const stopListening = onEndingSignal(() => asked.abort());
    const status = new StatusLine(!options.json);
    const start = performance.now();
    try {
      const onProgress = (totals: Totals): void =>
        status.show(progressLine(plan, (performance.now() - start) / 1000, totals));
      const outcomes = await runStress(plan, { signal: asked.signal, onProgress });
      status.clear();
      if (asked.signal.aborted) return 130;
      const document = makeDocument(plan, outcomes, VERSION);
      process.stdout.write(options.json ? `${JSON.stringify(document, undefined, 2)}\n` : formatDocument(document));
      return document.verdict === 'clean' ? 0 : 1;
    } finally {
      status.clear();
      stopListening();
    }
  },
};

const MIB = 2 ** 20;

function progressLine({ seconds, seed }: RunPlan, elapsed: number, totals: Totals): string {
  const { operations, execs, kills, dmaBytes, pagesChecked, transfers, frames, countsChecked } = totals;
  const rate = Math.round(operations / elapsed);
  const checks = pagesChecked + transfers + frames + countsChecked;
  return `seed ${seed} · ${Math.floor(elapsed)} of ${seconds} s · ${operations} calls (${rate}/s) · ${execs} execs · ${kills} kills · ${(dmaBytes / MIB).toFixed(0)} MiB of DMA · ${checks} checks`;
}
