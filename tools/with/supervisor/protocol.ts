/** What the thread of a supervisor is given, and what it says. */

/** Where the VFIO calls of the program are told. */
export interface TraceOutput {
  readonly fd: number;
  /** text, json: a line for each; recording: steps of a vector file. */
  readonly form: 'text' | 'recording' | 'json';
  /** The program's name. */
  readonly program: string;
}

export interface SupervisorData {
  /** Where trapped calls arrive. The thread closes neither fd. */
  readonly listener: number;
  /** An eventfd: the thread ends when it is signalled. */
  readonly stop: number;
  /** Where the host listens. */
  readonly socketPath: string;
  /** The folder that stands for /dev/vfio and parts of sysfs. */
  readonly tree: string;
  readonly trace: TraceOutput | null;
  /** BARs without bytes can be mapped: the program has a fault handler. */
  readonly mapRegisters: boolean;
}
