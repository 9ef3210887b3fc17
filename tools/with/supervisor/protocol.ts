/** What the thread of a supervisor is given, and what it says. */

export interface SupervisorData {
  /** Where trapped calls arrive. The thread closes neither fd. */
  readonly listener: number;
  /** An eventfd: the thread ends when it is signalled. */
  readonly stop: number;
  /** Where the host listens. */
  readonly socketPath: string;
  /** The folder that stands for /dev/vfio and parts of sysfs. */
  readonly tree: string;
  /** A fd that gets a line for each VFIO call of the program; null for none. */
  readonly trace: number | null;
}
