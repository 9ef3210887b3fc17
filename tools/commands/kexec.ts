/**
 * `livevmm kexec`: replaces the kernel of a host under running VMMs. Devices go on; each guest is
 * saved, and goes on with the next kernel.
 */
import { resolve } from 'node:path';

import { type Command, parseOptions, wholeNumber } from '../cli/command.ts';
import { kexecUnder, type VmmAfter } from '../clients/kexec.ts';
import { UPDATE_TIMEOUT_MS } from '../clients/live-update.ts';
import { QmpClient } from '../clients/qmp-client.ts';
import { findQmpSocket } from '../launch/sockets.ts';

const HELP = `Usage: livevmm kexec [--qmp PATH]... [--host SOCKET] [--to DIR] [--timeout S] [--json]

Replaces the kernel of a host. Its devices go on: guest RAM and the page tables of the IOMMU lie in memory that outlives the kernel.
Each VMM saves its guest there, ends with the kernel, and begins anew with the next one. For guests of 'livevmm run --pkernfs NAME',
on a host of 'livevmm host --pkernfs SIZE' or a private one.

  --qmp PATH     the monitor socket of a VMM on the host; may be repeated (default: that of the only VMM running). A VMM that is not
                 named loses its host, and ends
  --host SOCKET  a host without VMM
  --to DIR       folder of another built version (its dist/), whose kernel and VMM come next
  --timeout S    how many seconds each step may take (default ${UPDATE_TIMEOUT_MS / 1000})
  --json         print one JSON document
`;

function describe({ report }: VmmAfter): string {
  const { pid, generation, pauseMs, phasesMs, kexec } = report;
  const phases = Object.entries(phasesMs).map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`);
  const words = kexec ? `, ${kexec.pteWrites} page-table words written` : '';
  return `pid ${pid} is now generation ${generation}${words}
pause ${pauseMs.toFixed(1)} ms: ${phases.join(', ')}
`;
}

export const kexec: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      qmp: { type: 'string', multiple: true, default: [] },
      host: { type: 'string' },
      to: { type: 'string' },
      timeout: { type: 'string', default: String(UPDATE_TIMEOUT_MS / 1000) },
      json: { type: 'boolean', default: false },
    });
    const timeoutMs = wholeNumber('timeout', options.timeout, 1, 86_400) * 1000;
    const paths = options.qmp.length > 0 || options.host !== undefined ? options.qmp : [findQmpSocket()];
    const vmms = [];
    for (const qmpPath of paths) vmms.push({ qmpPath, qmp: await QmpClient.connect(qmpPath) });
    const to = options.to === undefined ? undefined : resolve(options.to);
    const after = await kexecUnder(options.host, vmms, { to, timeoutMs });
    for (const { qmp } of [...vmms, ...after]) qmp.close();
    const reports = after.map(({ report }) => report);
    process.stdout.write(options.json ? `${JSON.stringify(reports, undefined, 2)}\n` : after.map(describe).join(''));
    if (after.length === 0 && !options.json) process.stdout.write('the next kernel listens\n');
    return 0;
  },
};
