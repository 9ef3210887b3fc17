/** A demo run: N updates of a VMM while its devices do DMA, with progress, verdict and report. */
import { writeFileSync } from 'node:fs';

import { VERSION } from '../../platform/version.ts';
import { onEndingSignal, untilEndingSignal } from '../cli/signals.ts';
import { makeDocument, type RunDocument } from '../demo/document.ts';
import type { RunFacts } from '../demo/facts.ts';
import type { Guests } from '../demo/guests.ts';
import type { Defect } from '../demo/injection.ts';
import { Observer } from '../demo/observer.ts';
import { LiveProgress } from '../demo/progress.ts';
import { renderReport, type Tile } from '../demo/report.ts';
import { Session, type UpdateKind } from '../demo/session.ts';
import type { FrameFacts } from '../launch/guest-console.ts';
import type { Machine } from '../launch/machine.ts';

export interface RunOptions {
  readonly updates: number;
  readonly seconds: number;
  readonly inject: Defect | undefined;
  /** What each update replaces; default: the VMM's image. */
  readonly kinds?: readonly UpdateKind[];
  readonly json: boolean;
  readonly report: string | undefined;
  /** Leaves everything running until Ctrl-C. */
  readonly keep: boolean;
}

/** What a mode is about. */
export interface Mode<F extends FrameFacts, G> {
  /** Each machine that has started is put into `machines`; the first one is updated. */
  start(machines: Machine<F>[]): Promise<Guests<G>>;
  findFailures(facts: RunFacts<G>): readonly string[];
  describe(document: RunDocument<G>): string;
  tiles(document: RunDocument<G>): readonly Tile[];
  /** When all machines have stopped. */
  end?(): Promise<void>;
}

/** How often the devices' timelines are fetched. */
const GATHER_MS = 250;

/** Resolves to the exit status. */
export async function runUpdates<F extends FrameFacts, G>(mode: Mode<F, G>, options: RunOptions): Promise<number> {
  const { json, report, keep } = options;
  const abort = new AbortController();
  const stopListening = onEndingSignal(() => abort.abort());
  const progress = new LiveProgress(!json);
  const machines: Machine<F>[] = [];
  let gathering: NodeJS.Timeout | undefined;
  try {
    const guests = await mode.start(machines);
    const machine = machines[0]!;
    const observer = new Observer(machine);
    progress.watch(machine, observer);
    gathering = setInterval(() => {
      observer.gather();
      progress.refresh();
    }, GATHER_MS);
    const session = new Session({ machine, observer, guests }, { ...options, signal: abort.signal }, progress);
    const facts = await session.run();
    clearInterval(gathering);
    observer.gather();
    progress.done();
    const document = makeDocument(facts, mode.findFailures(facts), VERSION);
    if (report !== undefined) writeFileSync(report, renderReport(document, mode.tiles(document), observer.series));
    process.stdout.write(json ? `${JSON.stringify(document, undefined, 2)}\n` : mode.describe(document));
    if (report !== undefined && !json) process.stdout.write(`report: ${report}\n`);
    if (keep) await keepRunning(machine, json);
    return document.verdict === 'pass' ? 0 : 1;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    return 130;
  } finally {
    stopListening();
    clearInterval(gathering);
    progress.done();
    for (const machine of machines.reverse()) await machine.stop();
    await mode.end?.();
  }
}

async function keepRunning<F extends FrameFacts>(
  { hostSocket, qmpSocket, qmp, vmm }: Machine<F>,
  quiet: boolean,
): Promise<void> {
  await qmp.execute('cont');
  const out = quiet ? process.stderr : process.stdout; // stdout holds exactly one JSON document
  out.write(`still running; Ctrl-C ends it
  livevmm info --host ${hostSocket}
  livevmm update --qmp ${qmpSocket}
`);
  await Promise.race([untilEndingSignal(), vmm.exited]);
}
