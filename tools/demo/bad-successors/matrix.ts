/**
 * The whole matrix: one busy machine tries one bad successor after the other, and goes on with the
 * next. Only a trial that ends its machine, or loses the guest, brings another machine.
 */
import { join } from 'node:path';

import { Machine, type MachineOptions } from '../../launch/machine.ts';
import { PrivateFolder } from '../../launch/private-folder.ts';
import { countInterrupts } from '../interrupt-count.ts';
import { Observer } from '../observer.ts';
import { ramHashMatches } from '../ram-hash.ts';
import { attempt } from './attempt.ts';
import type { Trial, TrialFacts } from './trial.ts';
import type { LastCount, MatrixFacts } from './verdict.ts';

const FINAL_MS = 30_000;

export interface MatrixOptions {
  readonly trials: readonly Trial[];
  readonly machine: MachineOptions;
  /**
   * A machine whose guest went on in another process tries nothing more: its kernel lets only the
   * process that mapped RAM make the vaddrs invalid (UNM-9), so no update is possible there.
   */
  readonly updatesByMapperOnly: boolean;
  /** Ends the run early: it then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  readonly began: (trial: Trial, number: number) => void;
  readonly tried: (facts: TrialFacts) => void;
}

interface Stage {
  readonly machine: Machine;
  readonly trials: number[];
}

export class Matrix {
  readonly #options: MatrixOptions;
  readonly #folder = new PrivateFolder();
  readonly #trials: TrialFacts[] = [];
  readonly #counts: LastCount[] = [];
  readonly #errors: string[] = [];
  #begun = 0;
  #common: Stage | undefined;
  /** Every machine that runs. */
  readonly #machines = new Set<Machine>();

  constructor(options: MatrixOptions) {
    this.#options = options;
  }

  async run(): Promise<MatrixFacts> {
    const { signal } = this.#options;
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
    aborted.catch(() => {}); // nobody may be waiting
    try {
      signal.throwIfAborted();
      await Promise.race([this.#tryAll(), aborted]);
      return { trials: this.#trials, counts: this.#counts, errors: this.#errors };
    } finally {
      await Promise.all([...this.#machines].map((machine) => machine.stop()));
      await this.#folder.remove();
    }
  }

  async #tryAll(): Promise<void> {
    for (const trial of this.#options.trials) {
      if (!trial.own) this.#common ??= await this.#start();
      await this.#try(trial, trial.own ? await this.#start(trial.own) : this.#common!);
    }
    if (this.#common) await this.#count(this.#common);
  }

  async #try(trial: Trial, stage: Stage): Promise<void> {
    const { began, signal } = this.#options;
    const number = ++this.#begun;
    began(trial, number);
    stage.trials.push(number);
    const facts = await attempt(stage.machine, trial, join(this.#folder.path, String(number))).catch((error: Error) => {
      signal.throwIfAborted();
      this.#errors.push(`${trial.name}: cannot be tried: ${error.message}`); // its guest is lost since the last trial
    });
    if (facts) {
      this.#trials.push(facts);
      this.#options.tried(facts);
    }
    const isSpent = this.#options.updatesByMapperOnly && facts?.after?.pid !== facts?.before.pid;
    const over = !facts || facts.outcome === 'lost' || facts.outcome === 'ended';
    if (over) await this.#stop(stage);
    else if (trial.own || isSpent) await this.#count(stage);
    if ((over || isSpent) && stage === this.#common) this.#common = undefined;
  }

  async #start(own: Trial['own'] = {}): Promise<Stage> {
    const { machine: options, signal } = this.#options;
    // the user's own cache of snapshots is not for builds that are bad
    const env = { ...process.env, LIVEVMM_CACHE: join(this.#folder.path, 'cache') };
    const machine = await Machine.start({ ...options, env, ...own });
    this.#machines.add(machine);
    if (signal.aborted) await machine.stop(); // it was not there when the others were stopped
    return { machine, trials: [] };
  }

  /** Lets the guest give its last count, and ends the machine. */
  async #count(stage: Stage): Promise<void> {
    const { machine, trials } = stage;
    const count = await lastCount(machine).catch(() => ({ interrupts: null, ramHashMatches: null }));
    this.#counts.push({ trials, ...count });
    await this.#stop(stage);
  }

  async #stop({ machine }: Stage): Promise<void> {
    this.#machines.delete(machine);
    await machine.stop();
  }
}

async function lastCount(machine: Machine): Promise<Omit<LastCount, 'trials'>> {
  await machine.whileAlive(machine.console.final(FINAL_MS));
  const interrupts = await machine.whileAlive(countInterrupts(machine, new Observer(machine)));
  await machine.qmp.execute('stop');
  return { interrupts, ramHashMatches: await machine.whileAlive(ramHashMatches(machine.qmp, machine.host)) };
}
