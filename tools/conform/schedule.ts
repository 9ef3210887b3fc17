/**
 * Which cases have to be played one after the other on one host. What a device was told outlives a
 * case (no device of the recorded machine has a reset), and some recorded answers show it: those
 * cases of a file that reach into a device's registers or memory are a chain, in the order of the
 * file. All others stand alone.
 */
import type { VectorCase, VectorFile, VectorStep } from './vector-file.ts';

export interface Task {
  readonly file: VectorFile;
  readonly case: VectorCase;
  /** Not only played because a later one of its chain is wanted. */
  readonly wanted: boolean;
}

/** Region of the configuration space, which vfio-pci restores when the device is closed (PCI-9). */
const CONFIG = '7:';

const reaches = ({ op, args }: VectorStep): boolean =>
  op === 'edu_dma' || op === 'bar' || op === 'ioeventfd' || (op === 'pwrite' && !args[1]!.startsWith(CONFIG));

const isChained = ({ steps }: VectorCase): boolean => steps.some(reaches);

/** Chains first, as they take longest; everything in the order of the file otherwise. */
export function schedule(file: VectorFile, wanted: (one: VectorCase) => boolean): readonly (readonly Task[])[] {
  const tasks = file.cases.map((one): Task => ({ file, case: one, wanted: wanted(one) }));
  const chain = tasks.filter((task) => isChained(task.case));
  const needed = chain.slice(0, chain.findLastIndex((task) => task.wanted) + 1);
  const alone = tasks.filter((task) => task.wanted && !isChained(task.case)).map((task) => [task]);
  return needed.length > 0 ? [needed, ...alone] : alone;
}
