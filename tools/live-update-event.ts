/** The monitor's LIVE_UPDATE event, checked at the door. */
import { CommandError } from './command.ts';
import type { QmpEvent } from './qmp-client.ts';

export interface UpdateReport {
  readonly status: 'completed';
  readonly generation: number;
  readonly pid: number;
  readonly vaddrOld: string;
  readonly vaddrNew: string;
  readonly pauseMs: number;
  readonly phasesMs: Readonly<Record<string, number>>;
  /** CLOCK_MONOTONIC: last guest instruction before, first after. */
  readonly pauseStartNs: number;
  readonly pauseEndNs: number;
}

export interface UpdateFailure {
  readonly status: 'failed';
  readonly error: string;
}

/** The content of a LIVE_UPDATE event that ends an update. */
export function parseUpdateEvent({ data }: QmpEvent): UpdateReport | UpdateFailure {
  if (data.status === 'failed') return { status: 'failed', error: String(data.error ?? 'no reason given') };
  const numbers = ['generation', 'pid', 'pauseMs', 'pauseStartNs', 'pauseEndNs'];
  if (data.status !== 'completed' || numbers.some((key) => typeof data[key] !== 'number') || !data.phasesMs) {
    throw new CommandError(`the monitor sent a LIVE_UPDATE event that this version does not understand`);
  }
  const { generation, pid, vaddrOld, vaddrNew, pauseMs, phasesMs, pauseStartNs, pauseEndNs } =
    data as unknown as UpdateReport;
  return { status: 'completed', generation, pid, vaddrOld, vaddrNew, pauseMs, phasesMs, pauseStartNs, pauseEndNs };
}
