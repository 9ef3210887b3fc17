/**
 * Plays vector files on several hosts in parallel. Each host has its own clients, and cases are
 * handed out in order.
 */
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import { Lane } from './lane.ts';
import type { NativeWay } from './native/build.ts';
import { type CaseOutcome, compare, skipped } from './outcome.ts';
import { type RecordedMachine, recordedMachine } from './recorded-machine.ts';
import { schedule, type Task } from './schedule.ts';
import type { VectorCase, VectorFile } from './vector-file.ts';

export interface RunOptions {
  readonly files: readonly VectorFile[];
  readonly profileOf: (file: VectorFile) => ProfileName;
  /** The clients make real system calls, and a supervisor (`livevmm with`) answers them. */
  readonly throughSyscalls: NativeWay | null;
  /** Number of hosts at a time. */
  readonly jobs: number;
  /** Ends the run. The promise rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** Whether a case is played, by GROUP/NAME. */
  readonly wanted: (name: string) => boolean;
  readonly onOutcome: (outcome: CaseOutcome) => void;
}

/** Plays the files. Returns outcomes in the order of the files and cases. */
export async function runVectors(options: RunOptions): Promise<readonly CaseOutcome[]> {
  const outcomes = new Map<VectorCase, CaseOutcome>();
  const onOutcome = (outcome: CaseOutcome): void => {
    outcomes.set(outcome.case, outcome);
    options.onOutcome(outcome);
  };
  for (const { machine, files } of byMachine(options)) {
    const units = files.flatMap((file) => schedule(file, ({ name }) => options.wanted(`${file.group}/${name}`)));
    await runOn(machine, units, { ...options, onOutcome });
  }
  return options.files.flatMap(({ cases }) => cases.flatMap((one) => outcomes.get(one) ?? []));
}

interface Machine {
  readonly profile: ProfileName;
  readonly recorded: RecordedMachine;
}

interface MachineFiles {
  readonly machine: Machine;
  readonly files: VectorFile[];
}

/** Groups the files: those of one profile and one machine share their hosts. */
function byMachine({ files, profileOf }: RunOptions): Iterable<MachineFiles> {
  const groups = new Map<string, MachineFiles>();
  for (const file of files) {
    const profile = profileOf(file);
    const recorded = recordedMachine(file);
    const key = JSON.stringify([profile, recorded]);
    const group = groups.get(key) ?? { machine: { profile, recorded }, files: [] };
    group.files.push(file);
    groups.set(key, group);
  }
  return groups.values();
}

async function runOn(
  { profile, recorded }: Machine,
  units: readonly (readonly Task[])[],
  { jobs, onOutcome, signal, throughSyscalls }: RunOptions,
): Promise<void> {
  const queue = units.values();
  const stopped = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  stopped.catch(() => {}); // the race below handles this, if a case is being played
  const work = async (): Promise<void> => {
    const lane = await Lane.start(profile, recorded, throughSyscalls);
    const failed = lane.failed();
    failed.catch(() => {}); // likewise
    try {
      for (const unit of queue) {
        for (const { file, case: vectorCase, wanted } of unit) {
          signal.throwIfAborted();
          const reason =
            whySkipped(vectorCase, recorded) ??
            (throughSyscalls ? whyUnsupported(vectorCase, throughSyscalls) : undefined);
          const played =
            reason === undefined ? await Promise.race([lane.play(vectorCase), failed, stopped]) : undefined;
          if (wanted)
            onOutcome(
              played
                ? compare({ file, case: vectorCase, throughSyscalls: throughSyscalls !== null }, played)
                : skipped(file, vectorCase, reason!),
            );
        }
      }
    } finally {
      await lane.stop();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, units.length) }, work));
}

/** What `livevmm with` does not show to a program. */
function whyUnsupported(vectorCase: VectorCase, { mapRegisters }: NativeWay): string | undefined {
  if (vectorCase.steps.some(({ op }) => op.startsWith('emu_'))) return 'the calls of kvemu are none of VFIO’s';
  if (mapRegisters || !mapsRegisters(vectorCase)) return undefined;
  return 'a supervisor maps no registers without --map-registers';
}

/** Whether a BAR is mapped that is not memory, as BAR 2 of ivshmem is. */
function mapsRegisters({ steps }: VectorCase): boolean {
  const opened = (fd: string): string => steps.find(({ op, args }) => op === 'device' && args[0] === fd)?.args[2] ?? '';
  return steps.some(
    ({ op, args: [, fd, region] }) => op === 'bar' && !(opened(fd!).startsWith('ivshmem') && region!.startsWith('2:')),
  );
}

/**
 * Steps that need root, which the recorder was: another uid, and CAP_IPC_LOCK whatever the limit.
 */
const ROOT_STEPS = ['setuid', 'rlimit'];

function whySkipped({ steps }: VectorCase, { missing }: RecordedMachine): string | undefined {
  const absent = steps
    .flatMap(({ op, args }) => (op === 'group' || op === 'device' ? args : []))
    .find((word) => missing.includes(word));
  if (absent !== undefined) return `the board has no ${absent}`;
  const rooted = process.getuid!() === 0 ? undefined : steps.find(({ op }) => ROOT_STEPS.includes(op));
  return rooted && `${rooted.op} needs root, as the recorder was`;
}
