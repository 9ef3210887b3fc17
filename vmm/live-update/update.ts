/**
 * Updates of a VMM, the old image's side: one at a time, each planned and asked for beforehand, and
 * its end told by an event.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

import { ebusy, ecanceled, einval, enoent } from '../../platform/errno.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { Vm } from '../vm/vm.ts';
import type { Updating } from './at-rest.ts';
import { type UpdateForecast, updateCost } from './cost.ts';
import { type ExecPlan, execUpdate } from './exec-update.ts';
import type { Channels } from './migration/channels.ts';
import type { Migration } from './migration/migration.ts';
import { type PreflightReport, refusals } from './preflight-report.ts';
import { prepare, release } from './preparation.ts';
import { StateRehearsal } from './rehearsal.ts';
import { type Form, formOf } from './releases.ts';
import { Guardian } from './standby/guardian.ts';
import { STANDBY_PROTOCOL } from './standby/protocol.ts';
import type { StandingGuardian } from './standby/standing-guardian.ts';
import { isOwnVersion, saveSteady } from './survivors.ts';
import { transferUpdate } from './transfer-update.ts';
import { UPDATE_SECTION } from './update-state.ts';

export interface UpdateTarget {
  /** Folder of another built version. */
  readonly to?: string;
  /** Another node binary. */
  readonly node?: string;
  /** Sections that may be lost if the successor does not know them. */
  readonly allowLoss?: readonly string[];
  /** The release in whose form the state is written; by default the form is this build's own. */
  readonly as?: string;
  /** How long the guest must run in the new image before that commits, in ms; 500 if absent. */
  readonly probationMs?: number;
  /** Whether this process becomes the new image, or another one takes the guest; exec if absent. */
  readonly mode?: UpdateMode;
  /** With mode transfer: where a VMM waits for the guest that its user has started. */
  readonly channels?: Channels;
}

export type UpdateMode = 'exec' | 'transfer';

/** The probation, unless another is asked for. */
const PROBATION_MS = 500;

export interface UpdatePlan {
  readonly node: string;
  readonly entry: string;
  readonly allowLoss: readonly string[];
  readonly form: Form;
  readonly probationMs: number;
  readonly mode: UpdateMode;
  readonly channels?: Channels;
}

export interface LiveUpdateOptions {
  readonly vm: Vm;
  monitor(): Monitor | undefined;
  /**
   * Resolves when this image has begun. If an update brought it here, that update is then complete.
   */
  begun(): Promise<void> | undefined;
  /** Is told of the course of every update. */
  readonly migration: Migration;
  /** With `--guardian always`. */
  readonly standing: StandingGuardian | undefined;
  /** Called when another process has the guest: this one is to end. */
  moved(): void;
}

export class LiveUpdate {
  readonly #vm: Vm;
  readonly #monitor: () => Monitor | undefined;
  readonly #begun: () => Promise<void> | undefined;
  readonly #migration: Migration;
  readonly #moved: () => void;
  readonly #standing: StandingGuardian | undefined;
  #running = false;
  #successor: number | undefined;
  #movedTo: number | undefined;
  /** Of the update that is under way. */
  #cancelled = new AbortController();

  constructor({ vm, monitor, begun, migration, standing, moved }: LiveUpdateOptions) {
    this.#standing = standing;
    this.#moved = moved;
    this.#migration = migration;
    this.#vm = vm;
    this.#monitor = monitor;
    this.#begun = begun;
  }

  /** The process that runs the guest, while it has not committed; undefined: this one. */
  get successor(): number | undefined {
    return this.#successor;
  }

  /** The process that has the guest now, while this one only answers questions. */
  get movedTo(): number | undefined {
    return this.#movedTo;
  }

  /**
   * Plans an update and checks what can be known before the guest is stopped. ENOENT: the
   * successor's files do not exist. EOPNOTSUPP: DMA would not go on (CPR-1). EINVAL: `as` is no
   * release. EBUSY.
   */
  #plan(target: UpdateTarget): UpdatePlan {
    const { to, node = process.execPath, allowLoss = [], as, mode = 'exec', channels } = target;
    const { probationMs = PROBATION_MS } = target;
    const self = process.argv[1]!;
    const entry = to === undefined ? self : join(resolve(to), basename(self));
    for (const path of [node, entry]) if (!existsSync(path)) throw enoent(`${path}: no such file`);
    this.#vm.parts.host?.container.checkUpdatable();
    const form = as === undefined ? {} : formOf(as);
    return { node, entry, allowLoss, form, probationMs, mode, ...(channels ? { channels } : {}) };
  }

  /**
   * Asks the successor what an update would do and cost, and does nothing. While it does, no update
   * can begin. EINVAL: the successor does not answer. EBUSY; errors of #plan.
   */
  async query(target: UpdateTarget): Promise<UpdateForecast> {
    const plan = this.#reserve(target);
    try {
      await this.#begun();
      const prepared = await prepare(this.#vm, plan);
      try {
        const { firstLineNs: _, ...report } = prepared.report;
        const cost = updateCost(this.#vm, prepared, this.#migration.cameBy);
        return { ...report, refusals: refusals(report, plan.allowLoss), doubts: doubtsOf(plan, report), cost };
      } finally {
        release(prepared);
      }
    } finally {
      this.#running = false;
    }
  }

  /**
   * Begins an update: from here on no other one can begin. The function that is returned replaces
   * the process. It resolves only if that failed; the guest then runs as before and LIVE_UPDATE
   * says why. EBUSY; errors of #plan.
   */
  begin(target: UpdateTarget): () => Promise<void> {
    const plan = this.#reserve(target);
    this.#cancelled = new AbortController();
    this.#migration.begin();
    return () => this.#run(plan);
  }

  /** Ends an update that is under way, if the guest has not been stopped for it yet. */
  cancel(): void {
    const { status } = this.#migration.course ?? {};
    if (status !== 'setup' && status !== 'active') return;
    this.#migration.cancelling();
    this.#cancelled.abort(ecanceled('the update was cancelled'));
  }

  /** The plan; until #running is false again there is no other one. EBUSY; errors of #plan. */
  #reserve(target: UpdateTarget): UpdatePlan {
    if (this.#running) throw ebusy('an update is under way');
    const plan = this.#plan(target);
    this.#running = true;
    return plan;
  }

  async #run(plan: UpdatePlan): Promise<void> {
    const monitor = this.#monitor();
    try {
      await this.#begun();
      monitor?.emit('LIVE_UPDATE', { status: 'started' });
      await this.#attempt(plan, monitor);
    } catch (error) {
      const { aborted, reason } = this.#cancelled.signal;
      const { message } = (aborted ? reason : error) as Error;
      this.#running = false;
      this.#standing?.renew();
      this.#migration.failed(message);
      monitor?.emit('LIVE_UPDATE', { status: 'failed', error: message });
    }
  }

  async #attempt(plan: UpdatePlan, monitor: Monitor | undefined): Promise<void> {
    const { signal } = this.#cancelled;
    signal.throwIfAborted();
    if (plan.channels) return this.#moveTo(plan, monitor);
    const prepared = await prepare(this.#vm, plan, signal);
    try {
      signal.throwIfAborted();
      const { report } = prepared;
      const reasons = refusals(report, plan.allowLoss);
      if (reasons.length > 0) throw einval(`the successor cannot take the guest over: ${reasons.join('; ')}`);
      const doubts = doubtsOf(plan, report);
      if (doubts.length > 0) monitor?.emit('LIVE_UPDATE', { status: 'started', doubts: [...doubts] });
      const knowsTransfer = report.standby === STANDBY_PROTOCOL;
      if (plan.mode === 'transfer' && !knowsTransfer) throw einval('the successor knows no update by transfer');
      this.#migration.active();
      const lost = report.sections.filter(({ verdict }) => verdict === 'lost').map(({ name }) => name);
      const updating = this.#updating(monitor);
      const planned = { ...plan, prepared, lost };
      if (plan.mode === 'exec') {
        StateRehearsal.ofSaving(this.#vm, plan.form).end();
        await this.#exec(updating, planned);
      }
      await transferUpdate(updating, planned);
      this.#moved();
    } finally {
      release(prepared);
    }
  }

  /**
   * Moves the guest to a VMM that waits for it. That one says itself, before anything stops,
   * whether it can take the guest over. This process stays, without the guest.
   */
  async #moveTo(plan: UpdatePlan, monitor: Monitor | undefined): Promise<void> {
    await transferUpdate(this.#updating(monitor), { ...plan, lost: [] });
    this.#movedTo = this.#successor;
    this.#successor = undefined;
    this.#running = false;
    this.#migration.moved();
    monitor?.emit('LIVE_UPDATE', { status: 'completed', mode: 'transfer', pid: this.#movedTo! });
  }

  #updating(monitor: Monitor | undefined): Updating {
    const left = (pid: number | undefined): void => {
      this.#successor = pid;
    };
    const { signal } = this.#cancelled;
    return { vm: this.#vm, monitor, migration: this.#migration, signal, standing: this.#standing, left };
  }

  /** A guardian that stands by already becomes the update's. */
  async #exec(updating: Updating, plan: UpdatePlan & Omit<ExecPlan, 'guardian'>): Promise<never> {
    const { node, entry, prepared } = plan;
    const isGuarded = unguarded(plan, prepared.report) === undefined;
    const isOwn = node === process.execPath && entry === process.argv[1];
    const { snapshotFd } = isOwn ? prepared : {};
    if (!isGuarded) await this.#standing?.dismiss(); // it would take the guest from an image that does not know it
    const guardian = isGuarded
      ? (this.#standing?.take() ?? (await Guardian.start({ steady: saveSteady(this.#vm), nowFd: null }, snapshotFd)))
      : undefined;
    try {
      return await execUpdate(updating, { ...plan, guardian });
    } finally {
      await guardian?.dismiss();
    }
  }
}

/** What the user should know before an update that would be done. Sentences for people. */
function doubtsOf(plan: Pick<UpdatePlan, 'form' | 'mode'>, report: PreflightReport): readonly string[] {
  const reason = plan.mode === 'exec' ? unguarded(plan, report) : undefined;
  return reason === undefined ? [] : [`nobody could take the guest back if the new image failed: ${reason}`];
}

/**
 * Why nobody takes the guest back if an exec update fails after the execve; undefined: a guardian
 * does. A successor cannot commit if it does not know the words, or if its form of the state does
 * not name the guardian.
 */
function unguarded({ form }: Pick<UpdatePlan, 'form'>, { standby }: PreflightReport): string | undefined {
  if (standby !== STANDBY_PROTOCOL) return 'the successor does not know guardians as this build does';
  if (isOwnVersion(form, UPDATE_SECTION)) return undefined;
  return 'the state is written in a form that does not name a guardian';
}
