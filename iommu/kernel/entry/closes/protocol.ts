/** What the thread that waits for closes is given. It sends an empty message for each wake. */

export interface ClosesWorkerData {
  /** An inotify instance. The thread does not read it. */
  readonly inotify: number;
  /** An eventfd: the thread ends when it is signalled. */
  readonly stop: number;
}
