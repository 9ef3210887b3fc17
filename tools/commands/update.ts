/** `livevmm update`: asks a running VMM to replace itself, waits until the guest runs again, says what it cost. */
import { resolve } from 'node:path';

import { type Command, parseOptions, wholeNumber } from '../cli/command.ts';
import {
  type HandoverReport,
  liveUpdate,
  type TakebackReport,
  UPDATE_TIMEOUT_MS,
  type UpdateReport,
} from '../clients/live-update.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { findQmpSocket } from '../launch/sockets.ts';

const HELP = `Usage: livevmm update [--qmp PATH] [--to DIR] [--node PATH] [--timeout S] [--json]

Replaces a running VMM by a new process image: same pid, same guest, new code. Passed-through devices go on DMAing.
If the new image cannot be started, the guest runs on in the old one and this command fails.

  --qmp PATH    the VMM's monitor socket (default: that of the only VMM running)
  --to DIR      folder of another built version (its dist/, with vmm.cjs)
  --node PATH   another node binary to run it
  --timeout S   how many seconds to wait for the VMM (default 30); it is not asked to give up
  --json        print one JSON document
`;

function describe(report: UpdateReport): string {
  const phases = Object.entries(report.phasesMs).map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`);
  const { takeback, handover } = report;
  return `pid ${report.pid} is now generation ${report.generation}; guest RAM moved from ${report.vaddrOld} to ${report.vaddrNew}
${takeback ? describeTakeback(takeback) : ''}pause ${report.pauseMs.toFixed(1)} ms: ${phases.join(', ')}
${handover ? describeHandover(handover) : ''}`;
}

const describeTakeback = ({ beforeMs, gapMs, longestGapMs }: TakebackReport): string =>
  `taken back from its threads ${beforeMs.toFixed(1)} ms before, within ${gapMs.toFixed(1)} ms; longest gap after ${longestGapMs.toFixed(1)} ms
`;

const describeHandover = ({ afterMs, gapMs, longestGapMs }: HandoverReport): string =>
  `its threads took over ${afterMs.toFixed(1)} ms later, within ${gapMs.toFixed(1)} ms; longest gap before ${longestGapMs.toFixed(1)} ms
`;

export const update: Command = {
  summary: 'replace a running VMM by a new image of itself, or of another version or Node',
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      qmp: { type: 'string' },
      to: { type: 'string' },
      node: { type: 'string' },
      timeout: { type: 'string', default: String(UPDATE_TIMEOUT_MS / 1000) },
      json: { type: 'boolean' },
    });
    const timeoutMs = wholeNumber('timeout', options.timeout, 1, 86_400) * 1000;
    const qmp = await QmpClient.connect(options.qmp ?? findQmpSocket());
    try {
      const target = {
        ...(options.to === undefined ? {} : { to: resolve(options.to) }),
        ...(options.node === undefined ? {} : { node: resolve(options.node) }),
      };
      const report = await liveUpdate(qmp, target, { timeoutMs });
      process.stdout.write(options.json ? `${JSON.stringify(report, undefined, 2)}\n` : describe(report));
      return 0;
    } finally {
      qmp.close();
    }
  },
};
