/** An eventfd of a client as the kernel holds it (eventfd_ctx): a duplicate of its own, closed by whoever drops it. */
import { close, eventfdSignal, poll } from '../../../../platform/libc.ts';

const POLLOUT = 4;

export class EventTrigger {
  readonly fd: number;

  /** Takes the fd (Caller.eventfd). */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** eventfd_signal: never blocks; a counter at its maximum stays there. */
  signal(): void {
    const [revents] = poll([{ fd: this.fd, events: POLLOUT }], 0) ?? [0];
    if (((revents ?? 0) & POLLOUT) !== 0) eventfdSignal(this.fd);
  }

  /** eventfd_ctx_put. Nobody may use the fd any more. */
  close(): void {
    close(this.fd);
  }
}
