/**
 * The order of cases on a host. Some cases have to be played one after the other on one host: what
 * a device was told outlives a case (no device of the recorded machine has a reset), and some
 * recorded answers show it. So the cases of a file that access a device's registers or memory form
 * a chain, in the order of the file. All other cases stand alone.
 */
import type { VectorCase, VectorFile, VectorStep } from './vector-file.ts';

export interface Task {
  readonly file: VectorFile;
  readonly case: VectorCase;
  /** False for a case that is played only because a later case of its chain is wanted. */
  readonly wanted: boolean;
}

/** Region of the configuration space, which vfio-pci restores when the device is closed (PCI-9). */
const CONFIG = '7:';

const reaches = ({ op, args }: VectorStep): boolean =>
  op === 'edu_dma' || op === 'bar' || op === 'ioeventfd' || (op === 'pwrite' && !args[1]!.startsWith(CONFIG));

const isChained = ({ steps }: VectorCase): boolean => steps.some(reaches);

/**
 * The units of work. The chain comes first, as it takes longest; the rest is in the order of the
 * file.
 */
export function schedule(file: VectorFile, wanted: (one: VectorCase) => boolean): readonly (readonly Task[])[] {
  const tasks = file.cases.map((one): Task => ({ file, case: one, wanted: wanted(one) }));
  const chain = tasks.filter((task) => isChained(task.case));
  const needed = chain.slice(0, chain.findLastIndex((task) => task.wanted) + 1);
  const alone = tasks.filter((task) => task.wanted && !isChained(task.case)).map((task) => [task]);
  return needed.length > 0 ? [needed, ...alone] : alone;
}
