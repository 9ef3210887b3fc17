/** `livevmm demo --vmm qemu`: QEMU's own cpr-exec with vfio-pci, and the same report. */
import { writeFileSync } from 'node:fs';

import { VERSION } from '../../platform/version.ts';
import { CommandError } from '../cli/command.ts';
import { onEndingSignal } from '../cli/signals.ts';
import { makeDocument } from '../demo/document.ts';
import type { UpdateFacts } from '../demo/facts.ts';
import { Observer } from '../demo/observer.ts';
import { describeDocument, guestTiles } from '../demo/progress.ts';
import { hasCprExec, qemuVersion } from '../demo/qemu/command.ts';
import { QemuMachine } from '../demo/qemu/machine.ts';
import { qemuFailures, runQemu } from '../demo/qemu/session.ts';
import { renderReport } from '../demo/report.ts';

export interface QemuDemoOptions {
  readonly updates: number;
  readonly captures: number;
  readonly hostOptions: readonly string[];
  readonly json: boolean;
  readonly report: string | undefined;
}

const GATHER_MS = 250;
/** QEMU updates no device with INTx, and switches off one that has no reset (docs/with.md). */
const CAPTURE = 'capture,flr=on,intx=off';

/** Resolves to the exit status. CommandError without a QEMU that can update itself. */
export async function runQemuDemo({ updates, captures, hostOptions, json, report }: QemuDemoOptions): Promise<number> {
  const version = qemuVersion();
  if (!hasCprExec(version)) {
    const found = version === undefined ? 'there is none' : `this is ${version}`;
    throw new CommandError(
      `demo --vmm qemu needs qemu-system-riscv64 of 10.2 or later, and ${found}; LIVEVMM_QEMU_RISCV64 names another`,
    );
  }
  let interrupted = false;
  const machine = await QemuMachine.start(new Array<string>(captures).fill(CAPTURE), hostOptions);
  const stopListening = onEndingSignal(() => {
    interrupted = true;
    void machine.stop();
  });
  const observer = new Observer(machine);
  const gathering = setInterval(() => observer.gather(), GATHER_MS);
  try {
    const say = (update: UpdateFacts): void => void (json || process.stdout.write(updateLine(update)));
    const facts = await runQemu(machine, observer, updates, say);
    if (interrupted) return 130;
    clearInterval(gathering);
    observer.gather();
    const document = { vmm: `QEMU ${version}`, ...makeDocument(facts, qemuFailures(facts), VERSION) };
    if (report !== undefined) writeFileSync(report, renderReport(document, guestTiles(document), observer.series));
    process.stdout.write(json ? `${JSON.stringify(document, undefined, 2)}\n` : describeDocument(document));
    if (report !== undefined && !json) process.stdout.write(`report: ${report}\n`);
    return document.verdict === 'pass' ? 0 : 1;
  } finally {
    stopListening();
    clearInterval(gathering);
    if (!interrupted) await machine.stop();
  }
}

/** `update 3: no QEMU for 61.2 ms, 0 page-table words; capture 0000:00:02.0: 31 DMAs meanwhile`. */
function updateLine({ generation, pauseMs, pteWrites, devices }: UpdateFacts): string {
  const dma = devices.map(({ name, bdf, dmaDuringPause }) => `${name} ${bdf}: ${dmaDuringPause} DMAs meanwhile`);
  return `update ${generation}: no QEMU for ${pauseMs.toFixed(1)} ms, ${pteWrites} page-table words; ${dma.join(', ')}\n`;
}
