/**
 * Asks a VMM through its monitor to replace itself. Waits until the guest runs again, in the new
 * image or in the old one.
 */
import { CommandError } from '../cli/command.ts';
import type { QmpClient, QmpEvent } from './qmp-client.ts';

/** Times are in ms. */
export interface KexecReport {
  /** Without a kernel. */
  readonly kernelMs: number;
  /** From the end of the old kernel to the VMM's first call to the new one. */
  readonly firstCallMs: number;
  /** MAP_DMA of all of RAM. */
  readonly mapMs: number;
  /** Page-table words that the new kernel has written by then. */
  readonly pteWrites: number;
}

export interface UpdateReport {
  readonly generation: number;
  readonly pid: number;
  readonly vaddrOld: string;
  readonly vaddrNew: string;
  /** Time from the last guest instruction before the pause to the first one after it. */
  readonly pauseMs: number;
  /** After a kexec of the host's kernel. */
  readonly kexec?: KexecReport;
  readonly phasesMs: Readonly<Record<string, number>>;
  /** What came before all that. 0.1.0 does not send this. */
  readonly prepared?: PreparedReport;
  /**
   * After the pause: when the guest's threads took the guest over from main, and how long the guest
   * stood then. 0.1.0 does not send this.
   */
  readonly handover?: HandoverReport;
  /**
   * Before the pause: when main took the guest over from its threads, and how long the guest stood
   * then. 0.1.0 does not send this.
   */
  readonly takeback?: TakebackReport;
  /** CLOCK_MONOTONIC. */
  readonly pauseStartNs: number;
  readonly pauseEndNs: number;
  /** What the user should know of it, in sentences. */
  readonly doubts?: readonly string[];
}

export interface PreparedReport {
  /** Where the successor's snapshot came from: the user's cache, this update, or nowhere. */
  readonly snapshot: 'kept' | 'made' | 'none';
  /** How long the update waited for others to end. */
  readonly turnMs: number;
  /** How long the successor took to answer, and to make its snapshot. */
  readonly preflightMs: number;
}

export interface HandoverReport {
  /** Time since the end of the pause. */
  readonly afterMs: number;
  /** Time from the last guest instruction by main to the first one by the vCPU thread. */
  readonly gapMs: number;
  /** The longest time before the handover in which main did not let the guest run. */
  readonly longestGapMs: number;
}

export interface TakebackReport {
  /** Time until the pause began. */
  readonly beforeMs: number;
  /** Time from the last guest instruction by the vCPU thread to the first one by main. */
  readonly gapMs: number;
  /** The longest time after the takeback in which main did not let the guest run. */
  readonly longestGapMs: number;
}

export interface UpdateTarget {
  /** dist folder of the version to become; default: the same again. */
  readonly to?: string;
  /** node binary to run it; default: the same. */
  readonly node?: string;
  /** Sections of the guest's state that may be lost. */
  readonly allowLoss?: readonly string[];
  /** Release in whose form the state is written. */
  readonly as?: string;
  /** default: exec */
  readonly mode?: 'exec' | 'transfer';
  /** How long the guest must run in the new image before that commits. */
  readonly probationMs?: number;
}

/** The target as arguments of the monitor's command. */
export const argumentsOf = ({
  to,
  node,
  as,
  mode,
  probationMs,
  allowLoss = [],
}: UpdateTarget): Record<string, unknown> => ({
  ...(mode === undefined || mode === 'exec' ? {} : { mode }),
  ...(probationMs === undefined ? {} : { probation: probationMs }),
  ...(to === undefined ? {} : { to }),
  ...(node === undefined ? {} : { node }),
  ...(as === undefined ? {} : { as }),
  ...(allowLoss.length === 0 ? {} : { 'allow-loss': allowLoss }),
});

/** Default limit of the time that an update may take. */
export const UPDATE_TIMEOUT_MS = 60_000;

const isUpdateEvent = ({ event }: QmpEvent): boolean => event === 'LIVE_UPDATE';

export interface UpdateOptions {
  /** Called when the VMM has begun. */
  readonly onStarted?: () => void;
  readonly timeoutMs?: number;
}

/** Updates the VMM. Rejects when the update failed; the guest then runs on in the old image. */
export async function liveUpdate(
  qmp: QmpClient,
  target: UpdateTarget = {},
  { onStarted = (): void => {}, timeoutMs = UPDATE_TIMEOUT_MS }: UpdateOptions = {},
): Promise<UpdateReport> {
  const doubts: string[] = [];
  const stop = qmp.listen((event) => {
    if (!isUpdateEvent(event)) return;
    if (Array.isArray(event.data.doubts)) doubts.push(...event.data.doubts.map(String));
    else if (event.data.status === 'started') onStarted();
  });
  try {
    const ended = qmp.nextEvent((event) => isUpdateEvent(event) && event.data.status !== 'started', timeoutMs);
    const [event] = await Promise.all([ended, qmp.execute('live-update', argumentsOf(target), timeoutMs)]);
    return { ...parseReport(event.data), ...(doubts.length > 0 ? { doubts } : {}) };
  } finally {
    stop();
  }
}

/** The data of a LIVE_UPDATE event. CommandError: the update has failed. */
export function parseReport(data: QmpEvent['data']): UpdateReport {
  if (data.status === 'failed')
    throw new CommandError(`the update failed, the old image runs on: ${data.error ?? 'no reason given'}`);
  const numbers = ['generation', 'pid', 'pauseMs', 'pauseStartNs', 'pauseEndNs'];
  if (data.status !== 'completed' || numbers.some((key) => typeof data[key] !== 'number') || !data.phasesMs) {
    throw new CommandError('the monitor sent a LIVE_UPDATE event that this version does not understand');
  }
  const {
    generation,
    pid,
    vaddrOld,
    vaddrNew,
    pauseMs,
    phasesMs,
    pauseStartNs,
    pauseEndNs,
    handover,
    takeback,
    prepared,
    kexec,
  } = data as unknown as UpdateReport;
  const pause = { generation, pid, vaddrOld, vaddrNew, pauseMs, phasesMs, pauseStartNs, pauseEndNs };
  return {
    ...pause,
    ...(prepared ? { prepared } : {}),
    ...(kexec ? { kexec } : {}),
    ...(takeback ? { takeback } : {}),
    ...(handover ? { handover } : {}),
  };
}

/** The successor's answer to the question whether it could take the guest over. */
export interface DryRun {
  readonly version: string;
  readonly node: string;
  readonly sections: readonly { readonly name: string; readonly verdict: string; readonly reason?: string }[];
  readonly checks: readonly { readonly what: string; readonly ok: boolean; readonly reason?: string }[];
  /** Why the update would be refused; none if it would be done. */
  readonly refusals: readonly string[];
  /** What the user should know before, in sentences. */
  readonly doubts?: readonly string[];
  /** Builds before 0.2.0 do not send this. */
  readonly cost?: UpdateCost;
}

/** What an update would cost (vmm/live-update/cost.ts). */
export interface UpdateCost {
  /** Measured just now, beside the running guest. Times are in ms. */
  readonly measured: {
    readonly turnMs: number;
    readonly preflightMs: number;
    readonly snapshot: 'kept' | 'made' | 'none';
    readonly snapshotBytes: number;
    readonly startMs?: number;
    readonly saveMs: number;
    readonly steadyStateBytes: number;
    readonly dmaRanges: number;
  };
  /** Of the update that brought the running image, if one did. */
  readonly lastUpdate?: Pick<UpdateReport, 'pauseMs' | 'phasesMs' | 'handover' | 'takeback'>;
  readonly estimate?: {
    readonly pauseMs: number;
    readonly from: 'last-update' | 'preflight';
    readonly without: readonly string[];
  };
}

/**
 * Asks what an update would do, and changes nothing. Rejects when the successor does not answer.
 */
export async function dryRun(qmp: QmpClient, target: UpdateTarget, timeoutMs: number): Promise<DryRun> {
  return (await qmp.execute('query-live-update', argumentsOf(target), timeoutMs)) as DryRun;
}
