/** The command line of the program `vmm` (vmm/program/main.ts). */
import { programPath } from './programs.ts';
import { startOptions } from './start-snapshot.ts';

export interface VmmPlan {
  /** Where its host listens; without one it has no passthrough devices. */
  readonly host?: string;
  /** PCI devices of the host that are passed through. */
  readonly bdfs?: readonly string[];
  /** As -m takes it. */
  readonly memory: string;
  /** The guest's kernel; without one the options name firmware. */
  readonly kernel?: string | undefined;
  /** Further options of the VMM, as it takes them. */
  readonly options?: readonly string[];
  /** Path of the monitor's socket. */
  readonly qmp: string;
}

/** Its options. */
export function vmmWords({ host, bdfs = [], memory, kernel, options = [], qmp }: VmmPlan): string[] {
  const board = host === undefined ? [] : ['--host', host];
  const devices = bdfs.flatMap((bdf) => ['--device', `vfio-pci,host=${bdf}`]);
  const boots = kernel === undefined ? [] : ['--kernel', kernel];
  return [...board, '-m', memory, ...boots, ...options, ...devices, '--qmp', qmp];
}

/** Node and its options, the program and its options. */
export const vmmArgv = (plan: VmmPlan): string[] => [
  process.execPath,
  ...startOptions(),
  programPath('vmm'),
  ...vmmWords(plan),
];
