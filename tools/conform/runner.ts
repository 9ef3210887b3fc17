/** Plays vector files: hosts in parallel, each with its own clients; cases are handed out in order. */
import type { ProfileName } from '../../iommu/kernel/profile.ts';
import { Lane } from './lane.ts';
import { type CaseOutcome, compare, skipped } from './outcome.ts';
import { type RecordedMachine, recordedMachine } from './recorded-machine.ts';
import type { VectorCase, VectorDevice, VectorFile } from './vector-file.ts';

export interface RunOptions {
  readonly files: readonly VectorFile[];
  readonly profileOf: (file: VectorFile) => ProfileName;
  /** Hosts at a time. */
  readonly jobs: number;
  /** Ends the run: its reason is thrown. */
  readonly signal: AbortSignal;
  /** Which cases are played, by GROUP/NAME. */
  readonly wanted: (name: string) => boolean;
  readonly onOutcome: (outcome: CaseOutcome) => void;
}

interface Task {
  readonly file: VectorFile;
  readonly case: VectorCase;
}

/** Outcomes in the order of the files and cases. */
export async function runVectors(options: RunOptions): Promise<readonly CaseOutcome[]> {
  const outcomes = new Map<VectorCase, CaseOutcome>();
  const tasks = options.files.flatMap((file) =>
    file.cases.filter(({ name }) => options.wanted(`${file.group}/${name}`)).map((one): Task => ({ file, case: one })),
  );
  for (const [machine, cases] of byMachine(tasks, options.profileOf)) {
    const onOutcome = (outcome: CaseOutcome): void => {
      outcomes.set(outcome.case, outcome);
      options.onOutcome(outcome);
    };
    await runOn(machine, cases, { ...options, onOutcome });
  }
  return tasks.map((task) => outcomes.get(task.case)!);
}

interface Machine {
  readonly profile: ProfileName;
  readonly recorded: RecordedMachine;
}

/** Files of one profile and one set of devices share their hosts. */
function byMachine(tasks: readonly Task[], profileOf: RunOptions['profileOf']): ReadonlyMap<Machine, readonly Task[]> {
  const groups = new Map<string, { readonly machine: Machine; readonly tasks: Task[] }>();
  for (const task of tasks) {
    const profile = profileOf(task.file);
    const key = JSON.stringify([profile, task.file.devices]);
    const group = groups.get(key) ?? { machine: machineOf(profile, task.file.devices), tasks: [] };
    group.tasks.push(task);
    groups.set(key, group);
  }
  return new Map([...groups.values()].map(({ machine, tasks: ofMachine }) => [machine, ofMachine]));
}

const machineOf = (profile: ProfileName, devices: readonly VectorDevice[]): Machine => ({
  profile,
  recorded: recordedMachine(devices),
});

async function runOn(
  { profile, recorded }: Machine,
  tasks: readonly Task[],
  { jobs, onOutcome, signal }: RunOptions,
): Promise<void> {
  const queue = tasks.values();
  const stopped = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  stopped.catch(() => {}); // raced against below, if a case is under way
  const work = async (): Promise<void> => {
    const lane = await Lane.start(profile, recorded);
    try {
      const failed = lane.failed();
      failed.catch(() => {}); // it is raced against below
      for (const { file, case: vectorCase } of queue) {
        signal.throwIfAborted();
        const reason = whySkipped(vectorCase, recorded);
        const played = reason === undefined ? await Promise.race([lane.play(vectorCase), failed, stopped]) : undefined;
        onOutcome(played ? compare(file, vectorCase, played) : skipped(file, vectorCase, reason!));
      }
    } finally {
      await lane.stop();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, tasks.length) }, work));
}

function whySkipped({ steps }: VectorCase, { missing }: RecordedMachine): string | undefined {
  const absent = steps
    .flatMap(({ op, args }) => (op === 'group' || op === 'device' ? args : []))
    .find((word) => missing.includes(word));
  if (absent !== undefined) return `the board has no ${absent}`;
  if (process.getuid!() !== 0 && steps.some(({ op }) => op === 'setuid')) return 'setuid needs root';
  return undefined;
}
