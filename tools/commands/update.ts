/**
 * `livevmm update`: asks a running VMM to replace itself, waits until the guest runs again, says
 * what it cost.
 */
import { resolve } from 'node:path';

import { type Command, oneOf, parseOptions, wholeNumber } from '../cli/command.ts';
import { formatTable } from '../cli/table.ts';
import {
  type DryRun,
  dryRun,
  type HandoverReport,
  liveUpdate,
  type TakebackReport,
  UPDATE_TIMEOUT_MS,
  type UpdateReport,
} from '../clients/live-update.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { findQmpSocket } from '../launch/sockets.ts';
import { describeCost } from './update-cost.ts';

const HELP = `Usage: livevmm update [--qmp PATH] [--to DIR] [--node PATH] [--as VERSION] [--mode MODE] [--dry-run]
                      [--probation MS] [--allow-loss SECTION]… [--timeout S] [--json]

Replaces a running VMM by a new process image: same guest, new code. Passed-through devices go on DMAing.
Before the guest is stopped the new image is asked whether it can take the guest over: if not, the guest runs on in the old one and
this command fails, with every reason. If the new image dies or hangs later, before it has committed, the guest goes back to the old one.

  --qmp PATH    the VMM's monitor socket (default: that of the only VMM running)
  --to DIR      folder of another built version (its dist/, with vmm.cjs)
  --node PATH   another node binary to run it
  --as VERSION  the release in whose form the guest's state is written, for a build that is older than the running one: 0.1.0
  --mode MODE   exec (default): the VMM's process becomes the new image, and keeps its pid; transfer: the new image is another process,
                which is built while the guest runs, and the pause is shorter
  --probation MS  how long the guest must have run in the new image before that commits (default 500)
  --dry-run     only ask, also what it would cost; exit status 1 if the update would be refused
  --allow-loss SECTION  a part of the guest's state that may be lost if the new image does not know it
  --timeout S   how many seconds to wait for the VMM (default ${UPDATE_TIMEOUT_MS / 1000}); it is not asked to give up
  --json        print one JSON document
`;

function describe(report: UpdateReport): string {
  const phases = Object.entries(report.phasesMs).map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`);
  const { takeback, handover } = report;
  return `pid ${report.pid} is now generation ${report.generation}; guest RAM moved from ${report.vaddrOld} to ${report.vaddrNew}
${takeback ? describeTakeback(takeback) : ''}pause ${report.pauseMs.toFixed(1)} ms: ${phases.join(', ')}
${handover ? describeHandover(handover) : ''}${describeDoubts(report)}`;
}

const describeDoubts = ({ doubts = [] }: { readonly doubts?: readonly string[] }): string =>
  doubts.map((doubt) => `note: ${doubt}\n`).join('');

const describeTakeback = ({ beforeMs, gapMs, longestGapMs }: TakebackReport): string =>
  `taken back from its threads ${beforeMs.toFixed(1)} ms before, within ${gapMs.toFixed(1)} ms; longest gap after ${longestGapMs.toFixed(1)} ms
`;

const describeHandover = ({ afterMs, gapMs, longestGapMs }: HandoverReport): string =>
  `its threads took over ${afterMs.toFixed(1)} ms later, within ${gapMs.toFixed(1)} ms; longest gap before ${longestGapMs.toFixed(1)} ms
`;

function describeDryRun({ version, node, sections, checks, doubts = [], cost }: DryRun): string {
  const rows = [
    ...sections.map(({ name, verdict, reason = '' }) => [`section ${name}`, verdict, reason]),
    ...checks.map(({ what, ok, reason = '' }) => [what, ok ? 'ok' : 'not ok', reason]),
  ];
  return `the new image would be livevmm ${version} on node ${node}\n${formatTable(['what', 'answer', 'why'], rows)}${describeDoubts({ doubts })}${cost ? `\n${describeCost(cost)}` : ''}`;
}

export const update: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      qmp: { type: 'string' },
      to: { type: 'string' },
      node: { type: 'string' },
      as: { type: 'string' },
      mode: { type: 'string', default: 'exec' },
      probation: { type: 'string' },
      'dry-run': { type: 'boolean' },
      'allow-loss': { type: 'string', multiple: true, default: [] },
      timeout: { type: 'string', default: String(UPDATE_TIMEOUT_MS / 1000) },
      json: { type: 'boolean' },
    });
    const timeoutMs = wholeNumber('timeout', options.timeout, 1, 86_400) * 1000;
    const qmp = await QmpClient.connect(options.qmp ?? findQmpSocket());
    try {
      const target = {
        ...(options.to === undefined ? {} : { to: resolve(options.to) }),
        ...(options.node === undefined ? {} : { node: resolve(options.node) }),
        ...(options.as === undefined ? {} : { as: options.as }),
        mode: oneOf('mode', options.mode, ['exec', 'transfer'] as const),
        ...(options.probation === undefined
          ? {}
          : { probationMs: wholeNumber('probation', options.probation, 0, 3_600_000) }),
        allowLoss: options['allow-loss'],
      };
      if (options['dry-run']) {
        const answer = await dryRun(qmp, target, timeoutMs);
        process.stdout.write(options.json ? `${JSON.stringify(answer, undefined, 2)}\n` : describeDryRun(answer));
        return answer.refusals.length === 0 ? 0 : 1;
      }
      const report = await liveUpdate(qmp, target, { timeoutMs });
      process.stdout.write(options.json ? `${JSON.stringify(report, undefined, 2)}\n` : describe(report));
      return 0;
    } finally {
      qmp.close();
    }
  },
};
