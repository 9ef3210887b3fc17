/** The process of a VM beside its threads: console, signals, monitor, and how it ends. */
import { SysError } from '../../platform/errno.ts';
import { ownerEnded, type ToOwner, tellOwner } from '../../platform/lifeline.ts';
import { powerOn, settlePoweredOn } from '../live-update/go-on.ts';
import { type DmaOfDevice, dmaAround } from '../live-update/migration/dma.ts';
import { Migration } from '../live-update/migration/migration.ts';
import type { Resumed } from '../live-update/resume.ts';
import type { Protector } from '../live-update/standby/commitment.ts';
import type { Guardian } from '../live-update/standby/guardian.ts';
import '../live-update/standby/own-program.ts';
import type { Guarding, StandingGuardian } from '../live-update/standby/standing-guardian.ts';
import type { LiveUpdate } from '../live-update/update.ts';
import type { CommandSet } from '../monitor/command.ts';
import { Monitor } from '../monitor/monitor.ts';
import type { Command, Json, JsonObject } from '../monitor/qmp.ts';
import type { GuestImage } from '../vm/guest-image.ts';
import type { Built } from '../vm/power-on.ts';
import { removeSockets } from '../vm/virtio-parts.ts';
import type { Vm } from '../vm/vm.ts';

/**
 * Powers a VM on and serves it until it ends, or until `signalled` resolves. Returns the exit
 * status of the process.
 */
export function servePowerOn(built: Built, signalled: Promise<number>): Promise<number> {
  const { vm, state } = built;
  const migration = new Migration();
  return serve({ vm, migration, signalled, takeovers: [] }, async (execute) => {
    const monitor = await listen(vm, execute);
    const begin = async (): Promise<void> => void (await settlePoweredOn(await powerOn(vm, state, take(built))));
    return { monitor, begin };
  });
}

/** What RAM is filled with; nobody keeps it. */
function take(built: Built): GuestImage | undefined {
  const { image } = built;
  built.image = undefined;
  return image;
}

/** Serves a VM that was taken over and runs already; otherwise as servePowerOn. */
export function serveResumed(resumed: Resumed, signalled: Promise<number>): Promise<number> {
  const { vm, monitor: state, migration: before, report, told, protector, takeovers = [], behind } = resumed;
  const migration = new Migration(before);
  return serve({ vm, migration, signalled, protector, takeovers, behind }, async (execute) => {
    const monitor = (await Monitor.resume(state, execute)) ?? (await listen(vm, execute));
    if (vm.runState === 'running') monitor?.emit('RESUME');
    return {
      monitor,
      async begin() {
        const data = await report;
        if (!told) migration.reported(data, dmaOf(vm, data));
        monitor?.emit(told ?? 'LIVE_UPDATE', data);
      },
    };
  });
}

/** The monitor that the command line asks for. */
async function listen(vm: Vm, execute: Execute): Promise<Monitor | undefined> {
  const { qmp } = vm.parts.options;
  return qmp === undefined ? undefined : Monitor.listen(qmp, execute);
}

/** What the devices did around the pause. */
function dmaOf({ parts: { host } }: Vm, { status, pauseStartNs, pauseEndNs }: JsonObject): readonly DmaOfDevice[] {
  if (!host || status !== 'completed') return [];
  try {
    return dmaAround(host, Number(pauseStartNs), Number(pauseEndNs));
  } catch (error) {
    if (error instanceof SysError) return []; // the host is gone, and the VM ends for that reason
    throw error;
  }
}

interface Served {
  readonly monitor: Monitor | undefined;
  /** Starts the guest, or finishes the update. No update begins before that. */
  begin(): Promise<void>;
}

/** So long a VM that has ended waits for commands under way, and for their clients to read. */
const LAST_ANSWERS_MS = 200;

/** Exit status of a VMM whose owner has ended. It is the same as after SIGHUP. */
const HUNG_UP = 129;

type Execute = (command: Command) => Promise<Json>;

interface Serving {
  readonly vm: Vm;
  readonly migration: Migration;
  readonly signalled: Promise<number>;
  readonly protector?: Protector | undefined;
  /** As of Resumed. */
  readonly takeovers: readonly number[];
  readonly behind?: Guardian | undefined;
}

/**
 * Serves the VM to its end, and tells the owner who does: the process that the owner waits for may
 * be another one.
 */
async function serve(serving: Serving, open: (execute: Execute) => Promise<Served>): Promise<number> {
  const { lifeline } = serving.vm.parts.options;
  const tell = (what: ToOwner): void => {
    if (lifeline !== undefined) tellOwner(lifeline, what);
  };
  tell({ pid: process.pid });
  try {
    const status = await serveUntilEnd(serving, open);
    if (status === 'moved') return 0; // the other process tells
    tell({ status });
    return status;
  } catch (error) {
    if (serving.protector?.standing !== true) tell({ status: 1 });
    throw error;
  }
}

async function standingGuardian(guarding: Guarding): Promise<StandingGuardian> {
  const { StandingGuardian } = await import('../live-update/standby/standing-guardian.ts');
  return new StandingGuardian(guarding);
}

async function serveUntilEnd(
  { vm, migration, signalled, protector, takeovers, behind }: Serving,
  open: (execute: Execute) => Promise<Served>,
): Promise<number | 'moved'> {
  let inOrder = false;
  let hasMoved = false;
  let monitor: Monitor | undefined;
  const emit = (event: string, data?: JsonObject): void => monitor?.emit(event, data);
  let begun: Promise<void> | undefined;
  let leave: (how: 'moved') => void = () => {};
  const moved = new Promise<'moved'>((resolve) => {
    leave = resolve;
  });
  const { guardian, lifeline } = vm.parts.options;
  const parts = { vm, migration, monitor: () => monitor };
  const standing = guardian === 'always' ? await standingGuardian({ ...parts, takeovers, behind }) : undefined;
  let update: LiveUpdate | undefined;
  /** Loads what commands need. */
  const load = async (): Promise<CommandSet> => {
    const { LiveUpdate } = await import('../live-update/update.ts');
    const { commandsOf } = await import('./commands/commands.ts');
    update = new LiveUpdate({ ...{ ...parts, standing, begun: () => begun }, moved: () => leave('moved') });
    return commandsOf({ vm, update, migration, standing }, emit);
  };
  let loaded: Promise<CommandSet> | undefined;
  const commands = (): Promise<CommandSet> => {
    loaded ??= load();
    return loaded;
  };
  migration.listen((status) => emit('MIGRATION', { status }));
  vm.listen((message) => emit(message.event, 'data' in message ? message.data : undefined));
  // a guardian has the device's fds, too: the next one has them no more
  vm.listen(({ event }) => event === 'DEVICE_DELETED' && void standing?.dismiss().then(() => standing.renew()));
  const end = (status: number, reason = 'host-signal'): void => {
    if (update?.successor === undefined) vm.shutdown(status, reason);
    else process.kill(update.successor, 'SIGTERM'); // it has the guest
  };
  void signalled.then((status) => end(status));
  try {
    if (lifeline !== undefined) void ownerEnded(lifeline).then(() => end(HUNG_UP));
    const served = await open(async (command) => {
      const set = await commands();
      return set.execute(command).finally(() => standing?.refresh());
    });
    monitor = served.monitor;
    vm.parts.console.open(() => end(0, 'host-ui'));
    begun = served.begin();
    void begun.then(commands, () => {}); // before a client asks, and after the guest has begun
    standing?.begin(protector);
    const status = await Promise.race([begun.then(() => vm.ended), vm.ended, moved]);
    hasMoved = status === 'moved';
    if (hasMoved) vm.parts.console.leave();
    else await monitor?.quiet('the VM has ended', LAST_ANSWERS_MS); // `cont` may be what has ended it
    if (!hasMoved) await vm.endRecording();
    inOrder = true;
    return status;
  } finally {
    const dismissed = standing?.end();
    const guarded = protector?.standing === true;
    if (inOrder && guarded) protector.over();
    const removed = !hasMoved && (inOrder || !guarded); // whoever takes the guest back needs the sockets
    monitor?.close({ removed });
    if (removed) removeSockets(vm.parts.backends);
    vm.release();
    await dismissed;
  }
}
