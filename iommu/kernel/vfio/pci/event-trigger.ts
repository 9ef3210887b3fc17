/**
 * A client's eventfd as the kernel holds it (eventfd_ctx). The code that drops it must close it.
 */
import type { EventfdSources } from '../../../../platform/eventfd-source.ts';

export class EventTrigger {
  /** The eventfd's number in the tables that device workers read (iommu/bus/interrupts.ts). */
  readonly source: number;
  readonly #sources: EventfdSources;

  /** Takes the fd (Caller.eventfd). Errors as EventfdSources.open. */
  constructor(sources: EventfdSources, fd: number) {
    this.source = sources.open(fd);
    this.#sources = sources;
  }

  /** eventfd_signal. Never blocks; a counter at its maximum stays there. */
  signal(): void {
    this.#sources.signal(this.source);
  }

  /** eventfd_ctx_put. No thread may use the source any more. */
  close(): void {
    this.#sources.close(this.source);
  }
}
