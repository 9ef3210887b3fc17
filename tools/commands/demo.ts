/** `livevmm demo`: the main job, end to end, with a verdict. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

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
import { runBadSuccessors } from './demo-bad-successors.ts';
import { DEFAULT_PROFILE } from './host.ts';

const MODES = ['updates', 'bad-successors'] as const;

/**
 * A kernel on which another process can take over and be updated again. Before 6.0 it cannot
 * (UNM-9), and before 6.3 mediated devices do not reach its memory (ACC-6).
 */
const ROLLBACK_PROFILE: ProfileName = '6.12';

const HELP = `Usage: livevmm demo [--updates N] [--seconds S] [--devices N] [--json] [--report FILE.html] [--keep]
       livevmm demo --mode bad-successors [--moments N] [--only TEXT]… [--node PATH]… [--json] [--report FILE.html]

Starts a host process with an edu and N capture devices behind an IOMMU and mscribe, a copy engine without one, and a VMM process with
a RISC-V guest that uses them all; replaces the VMM N times by execve while the devices go on DMAing; counts; gives a verdict.
Exit status 0: pass, 1: fail. Kernels from 6.3 on refuse updates beside a device without IOMMU: there mscribe is left out.

  --updates N          live updates (default 5)
  --seconds S          about how long it takes (default 20)
  --devices N          capture devices, 1 to 14 (default 2)
  -m SIZE              guest memory (default 128M)
  --vfio-profile V     which kernel's VFIO the host answers as: ${PROFILE_NAMES.join(', ')} (default ${DEFAULT_PROFILE}; bad-successors:
                       ${ROLLBACK_PROFILE}; before 6.0 each rollback takes another machine)
  --json               print exactly one JSON document
  --report FILE.html   also write a report with a timeline picture
  --keep               leave host and VMM running until Ctrl-C, and say how to reach them

--mode bad-successors: updates to some fifty new images that are broken, crash, hang or are killed, one after the other, and to good
ones at bad moments. After each the same guest must go on, in the new image or in the old one, with nothing lost. Takes minutes.

  --moments N          new images that are killed at random moments (default 8)
  --only TEXT          only the rows whose names contain TEXT
  --node PATH          another node binary, to which an update must complete

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
      mode: { type: 'string', default: 'updates' },
      moments: { type: 'string', default: '8' },
      only: { type: 'string', multiple: true, default: [] },
      node: { type: 'string', multiple: true, default: [] },
      updates: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '20' },
      devices: { type: 'string', default: '2' },
      memory: { type: 'string', short: 'm', default: '128M' },
      'vfio-profile': { type: 'string' },
      json: { type: 'boolean', default: false },
      report: { type: 'string' },
      keep: { type: 'boolean', default: false },
      inject: { type: 'string' },
    });
    const updates = wholeNumber('updates', options.updates, 1, 1000);
    const seconds = wholeNumber('seconds', options.seconds, 1, 86_400);
    const captures = wholeNumber('devices', options.devices, 1, 14);
    const inject = options.inject === undefined ? undefined : oneOf('inject', options.inject, DEFECTS);
    if (options.report !== undefined) claimFile(options.report);

    if (oneOf('mode', options.mode, MODES) === 'bad-successors') {
      const { memory, only, node: nodes, json, report, 'vfio-profile': kernelsVfio = ROLLBACK_PROFILE } = options;
      const profile = oneOf('vfio-profile', kernelsVfio, PROFILE_NAMES);
      const hostOptions = ['--vfio-profile', profile];
      return runBadSuccessors({
        machine: { devices: captureDevices(captures), memory, kernel: guestPath('demo'), hostOptions },
        updatesByMapperOnly: profileOf(profile).unmapOfOtherMm === 'stops',
        moments: wholeNumber('moments', options.moments, 0, 1000),
        nodes: nodes.map((path) => resolve(path)),
        only,
        json,
        report,
      });
    }
    const profile = oneOf('vfio-profile', options['vfio-profile'] ?? DEFAULT_PROFILE, PROFILE_NAMES);
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
  const devices = captureDevices(captures);
  return profileOf(profile).invalidVaddr === 'sleeps' ? [...devices, 'mscribe,job-ms=4'] : devices;
}

const captureDevices = (captures: number): string[] => [
  'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff',
  ...new Array<string>(captures).fill('capture'),
];

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
