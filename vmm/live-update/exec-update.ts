/**
 * An exec update, the old image's side (docs/DESIGN.md, "Three lifetimes"): take the guest back
 * from its threads → stop → invalidate vaddrs → save → execve. Until the execve succeeds, this
 * image itself puts everything back: vaddrs become valid again, fds close-on-exec again, and new
 * threads run the guest on. From the execve to the commit of the new image, a guardian does that
 * (standby/guard.ts).
 */
import { monotonicNs } from '../../platform/clock.ts';
import { close, getCloexec, setCloexec } from '../../platform/libc/fd.ts';
import { execve } from '../../platform/libc/this-process.ts';
import { nodeEnv } from '../../platform/node-env.ts';
import {
  type AtRest,
  type CheckedPlan,
  type CutOff,
  fromMain,
  giveAway,
  REPLACED,
  tellStop,
  type Updating,
  writeState,
} from './at-rest.ts';
import { handOver } from './hand-over.ts';
import { fromSnapshot, nodeOptions } from './node-options.ts';
import { type Preparation, timesOf } from './preparation.ts';
import type { Guardian } from './standby/guardian.ts';
import { newStateFile } from './state-file.ts';
import { fdsOf, saveAll } from './survivors.ts';
import { type TakenBack, takeBack } from './take-back.ts';
import { withFds } from './update-state.ts';

export interface ExecPlan extends CheckedPlan {
  readonly prepared: Preparation;
  /** Who takes the guest back if the new image does not commit; undefined: nobody. */
  readonly guardian: Guardian | undefined;
}

/**
 * Replaces this process. It resolves never, and rejects when the guest runs on as before: with the
 * errno of the execve, or why it was not tried.
 */
export async function execUpdate(what: Updating, plan: ExecPlan): Promise<never> {
  const { vm, monitor } = what;
  vm.parts.ram.dropPages(); // otherwise execve drops each page that the guest has ever touched
  const taken = await takeBack(vm);
  try {
    await monitor?.quiet(REPLACED);
    return await vm.change(() => replace(what, plan, taken));
  } catch (error) {
    monitor?.release();
    await handOver(vm, taken.slices);
    throw error;
  }
}

async function replace(what: Updating, plan: ExecPlan, taken: TakenBack): Promise<never> {
  await giveAway(what, {
    give(rest, cut) {
      tellStop(what, rest);
      execSuccessor(what, { ...cut, rest, taken }, plan);
    },
  });
  throw new Error('execve has returned');
}

interface Leaving extends CutOff {
  readonly rest: AtRest;
  readonly taken: TakenBack;
}

/** Throws after it has put everything back. */
function execSuccessor(
  what: Updating,
  { rest, stop, invalidate, taken: { slices, atNs, gapNs } }: Leaving,
  plan: ExecPlan,
): never {
  const { node, entry, prepared, probationMs, guardian } = plan;
  const { snapshotFd, turnFd } = prepared;
  const done = invalidate(); // the kernel does it while the state is saved
  const stamps = { begin: rest.begin, stop, invalidate: monotonicNs() };
  const takeback = { atNs, gapNs, longestGapNs: slices.longestGapNs };
  const guarding = guardian?.state(probationMs) ?? null;
  const update = { takeback, prepared: timesOf(prepared), guardian: guarding };
  const { vm } = what;
  const machine = rest.stopped.state();
  const saved = saveAll({ vm, machine, ...fromMain(what, stamps, { withMonitor: true, update }) });
  const fds = fdsOf(saved);
  const all = {
    ...fds,
    ...(snapshotFd === undefined ? {} : { snapshot: snapshotFd }),
    ...(turnFd === undefined ? {} : { turn: turnFd }),
    ...(guardian && guarding ? { guardian: guarding.messages, vitals: guardian.vitalsFd } : {}),
  };
  const stateFd = guardian?.stateFd ?? newStateFile();
  const inherited = [0, 1, 2, stateFd, ...Object.values(all)];
  const closing = inherited.filter((fd) => getCloexec(fd)); // Node sets FD_CLOEXEC on 0–2 too
  try {
    const start = snapshotFd === undefined ? [] : fromSnapshot(snapshotFd);
    const argv = [node, ...nodeOptions(), ...start, entry, '--resume', String(stateFd)];
    for (const fd of closing) setCloexec(fd, false);
    const kept = writeState(stateFd, withFds(saved, all), plan);
    done();
    guardian?.watch(Object.values(fds), kept);
    return execve(node, argv, nodeEnv());
  } catch (error) {
    for (const fd of closing) setCloexec(fd, true);
    if (!guardian) close(stateFd);
    throw error;
  }
}
