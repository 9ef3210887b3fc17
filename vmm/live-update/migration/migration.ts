/**
 * An update as QEMU's migration commands see it: parameters, capability and course. Every update
 * takes this course, whichever command began it: setup (the successor is asked), active (main takes
 * the guest from its threads), device (the guest is stopped), and in the new image completed. An
 * update that does not come so far ends in failed or cancelled, and then the guest runs here.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import type { DmaOfDevice } from './dma.ts';
import type { MigrationState, Mode } from './state.ts';

/** Of QEMU's MigrationStatus. */
export const STATUSES = ['setup', 'active', 'device', 'completed', 'failed', 'cancelling', 'cancelled'] as const;
export type Status = (typeof STATUSES)[number];

/** What is known of the latest update. All times are CLOCK_MONOTONIC ns. */
export interface Course {
  readonly status: Status;
  /** Absent after an update from 0.1.0, which does not tell. */
  readonly begunNs?: number;
  readonly activeNs?: number;
  readonly endedNs?: number;
  /** Why it failed. */
  readonly error?: string;
  /** When it has completed: the content of the LIVE_UPDATE event, and what the devices did. */
  readonly report?: JsonObject;
  readonly dma?: readonly DmaOfDevice[];
}

export class Migration {
  mode: Mode;
  execCommand: readonly string[];
  events: boolean;
  #listener: (status: Status) => void = () => {};
  #course: Course | undefined;
  #cameBy: JsonObject | undefined;

  /**
   * `state` is what the image before this one has saved; there is none in the first image, and
   * after an update by 0.1.0.
   */
  constructor(state?: MigrationState | null) {
    this.mode = state?.mode ?? 'normal';
    this.execCommand = state?.execCommand ?? [];
    this.events = state?.events ?? false;
    if (state?.times) this.#course = { status: 'device', ...state.times };
  }

  /** Calls `listener` at each step of an update, if MIGRATION events are wanted. */
  listen(listener: (status: Status) => void): void {
    this.#listener = listener;
  }

  /** undefined: there has been no update. */
  get course(): Course | undefined {
    return this.#course;
  }

  /** The report about the update that brought this image, even after others have failed. */
  get cameBy(): JsonObject | undefined {
    return this.#cameBy;
  }

  get running(): boolean {
    const status = this.#course?.status;
    return status === 'setup' || status === 'active' || status === 'device' || status === 'cancelling';
  }

  begin(): void {
    this.#become({ status: 'setup', begunNs: monotonicNs() });
  }

  /** The successor can take the guest over. */
  active(): void {
    this.#become({ ...this.#course, status: 'active', activeNs: monotonicNs() });
  }

  /** The guest is stopped. */
  device(): void {
    this.#become({ ...this.#course, status: 'device' });
  }

  cancelling(): void {
    this.#become({ ...this.#course, status: 'cancelling' });
  }

  /** The update has ended without success: the guest runs in this image. */
  failed(error: string): void {
    if (this.#course?.status === 'cancelling') this.#become({ status: 'cancelled' });
    else this.#become({ status: 'failed', error });
  }

  /** The report about an update that another image began: the guest runs here, by its threads. */
  reported(report: JsonObject, dma: readonly DmaOfDevice[]): void {
    if (report.status === 'failed') this.failed(String(report.error));
    else {
      this.#cameBy = report;
      this.#become({ ...this.#course, status: 'completed', endedNs: monotonicNs(), report, dma });
    }
  }

  /** The guest runs in a process that its user has started; the report is there. */
  moved(): void {
    this.#become({ ...this.#course, status: 'completed', endedNs: monotonicNs() });
  }

  /** For the new image. */
  save(): MigrationState {
    const { mode, execCommand, events } = this;
    const { begunNs, activeNs } = this.#course ?? {};
    const known = begunNs !== undefined && activeNs !== undefined;
    return { mode, execCommand, events, ...(known ? { times: { begunNs, activeNs } } : {}) };
  }

  #become(course: Course): void {
    this.#course = course;
    if (this.events) this.#listener(course.status);
  }
}
