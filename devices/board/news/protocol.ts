/** What the board gives the news thread. The thread says nothing. */

/** A device with sockets behind it. */
export interface NewsDevice {
  /** Its epoll instance: the device itself adds and removes sockets (DeviceFiles.news). */
  readonly news: number;
  /** Its control words and its mailbox, by which it is told. */
  readonly control: SharedArrayBuffer;
  readonly mailbox: SharedArrayBuffer;
}

export interface NewsInput {
  readonly devices: readonly NewsDevice[];
  /** An eventfd. Its signal ends the thread. */
  readonly stop: number;
}
