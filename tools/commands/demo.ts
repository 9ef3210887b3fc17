/** `livevmm demo`: the main job, end to end, with a verdict. */
import { writeFileSync } from 'node:fs';

import { PROFILE_NAMES, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import { VERSION } from '../../platform/version.ts';
import { type Command, CommandError, oneOf, parseOptions, wholeNumber } from '../cli/command.ts';
import { onEndingSignal, untilEndingSignal } from '../cli/signals.ts';
import { type DemoDocument, makeDocument } from '../demo/document.ts';
import { DEFECTS, vmmOptionsFor } from '../demo/injection.ts';
import { Observer } from '../demo/observer.ts';
import { describeDocument, LiveProgress } from '../demo/progress.ts';
import { renderReport } from '../demo/report.ts';
import { Session } from '../demo/session.ts';
import { Machine } from '../launch/machine.ts';
import { guestPath } from '../launch/programs.ts';
import { DEFAULT_PROFILE } from './host.ts';

const HELP = `Usage: livevmm demo [--updates N] [--seconds S] [--devices N] [--json] [--report FILE.html] [--keep]

Starts a host process with an edu and N capture devices behind an IOMMU and mscribe, a copy engine without one, and a VMM process with
a RISC-V guest that uses them all; replaces the VMM N times by execve while the devices go on DMAing; counts; gives a verdict.
Exit status 0: pass, 1: fail. Kernels from 6.3 on refuse updates beside a device without IOMMU: there mscribe is left out.

  --updates N          live updates (default 5)
  --seconds S          about how long it takes (default 20)
  --devices N          capture devices, 1 to 14 (default 2)
  -m SIZE              guest memory (default 128M)
  --vfio-profile V     which kernel's VFIO the host answers as: ${PROFILE_NAMES.join(', ')}
  --json               print exactly one JSON document
  --report FILE.html   also write a report with a timeline picture
  --keep               leave host and VMM running until Ctrl-C, and say how to reach them

To show that the demo can fail, it does one thing wrong during the first update:
  --inject DEFECT      ${DEFECTS.join(' | ')}
`;

/** How often the devices' timelines are fetched. */
const GATHER_MS = 250;

export const demo: Command = {
  summary: 'replace a busy VMM several times and prove that nothing stopped or was lost',
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      updates: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '20' },
      devices: { type: 'string', default: '2' },
      memory: { type: 'string', short: 'm', default: '128M' },
      'vfio-profile': { type: 'string', default: DEFAULT_PROFILE },
      json: { type: 'boolean', default: false },
      report: { type: 'string' },
      keep: { type: 'boolean', default: false },
      inject: { type: 'string' },
    });
    const updates = wholeNumber('updates', options.updates, 1, 1000);
    const seconds = wholeNumber('seconds', options.seconds, 1, 86_400);
    const captures = wholeNumber('devices', options.devices, 1, 14);
    const profile = oneOf('vfio-profile', options['vfio-profile'], PROFILE_NAMES);
    const inject = options.inject === undefined ? undefined : oneOf('inject', options.inject, DEFECTS);
    if (options.report !== undefined) claimFile(options.report);

    const abort = new AbortController();
    const stopListening = onEndingSignal(() => abort.abort());
    const progress = new LiveProgress(!options.json);
    let machine: Machine | undefined;
    let gathering: NodeJS.Timeout | undefined;
    try {
      machine = await Machine.start({
        devices: devicesFor(profile, captures),
        memory: options.memory,
        kernel: guestPath('demo'),
        vmmOptions: vmmOptionsFor(inject),
        hostOptions: ['--vfio-profile', profile],
      });
      const observer = new Observer(machine);
      progress.watch(machine, observer);
      gathering = setInterval(() => {
        observer.gather();
        progress.refresh();
      }, GATHER_MS);
      const facts = await new Session(
        machine,
        observer,
        { updates, seconds, inject, signal: abort.signal },
        progress,
      ).run();
      clearInterval(gathering);
      observer.gather();
      progress.done();
      const document = makeDocument(facts, VERSION);
      if (options.report !== undefined) writeFileSync(options.report, renderReport(document, observer.series));
      process.stdout.write(options.json ? `${JSON.stringify(document, undefined, 2)}\n` : describeDocument(document));
      if (options.report !== undefined && !options.json) process.stdout.write(`report: ${options.report}\n`);
      if (options.keep) await keepRunning(machine, options.json);
      return exitStatusOf(document);
    } catch (error) {
      if (!abort.signal.aborted) throw error;
      return 130;
    } finally {
      stopListening();
      clearInterval(gathering);
      progress.done();
      await machine?.stop();
    }
  },
};

/**
 * The devices for a profile. Kernels from 6.3 on refuse to make a vaddr invalid beside a mediated
 * device (UNM-3), so mscribe is left out there.
 */
function devicesFor(profile: ProfileName, captures: number): string[] {
  const devices = ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', ...new Array<string>(captures).fill('capture')];
  return profileOf(profile).invalidVaddr === 'sleeps' ? [...devices, 'mscribe,job-ms=4'] : devices;
}

/** Fails now rather than after the run if the report cannot be written. */
function claimFile(path: string): void {
  try {
    writeFileSync(path, '');
  } catch (error) {
    throw new CommandError(`--report ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

const exitStatusOf = ({ verdict }: DemoDocument): number => (verdict === 'pass' ? 0 : 1);

async function keepRunning({ hostSocket, qmpSocket, qmp, vmm }: Machine, quiet: boolean): Promise<void> {
  await qmp.execute('cont');
  const out = quiet ? process.stderr : process.stdout; // stdout holds exactly one JSON document
  out.write(`still running; Ctrl-C ends it
  livevmm info --host ${hostSocket}
  livevmm update --qmp ${qmpSocket}
`);
  await Promise.race([untilEndingSignal(), vmm.exited]);
}
