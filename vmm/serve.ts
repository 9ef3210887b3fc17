/** A VM's process beside its threads: console, signals, monitor, and how it ends. */
import type { Resumed } from './live-update/resume.ts';
import { LiveUpdate } from './live-update/update.ts';
import { Commands } from './monitor/commands.ts';
import { Monitor } from './monitor/monitor.ts';
import type { Command, Json, JsonObject } from './monitor/qmp.ts';
import type { Vm } from './vm.ts';

/** Exit status of a process that a signal ended, as a shell shows it. */
const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Powers a VM on and serves it; the exit status of the process. */
export function servePowerOn(vm: Vm): Promise<number> {
  const { qmp } = vm.parts.options;
  return serve(vm, async (execute) => {
    const monitor = qmp === undefined ? undefined : await Monitor.listen(qmp, execute);
    return { monitor, begin: () => vm.powerOn() };
  });
}

/** Serves a VM that was taken over and runs already; the exit status of the process. */
export function serveResumed({ vm, monitor: state, report }: Resumed): Promise<number> {
  return serve(vm, async (execute) => {
    const monitor = await Monitor.resume(state, execute);
    if (vm.runState === 'running') monitor?.emit('RESUME');
    return { monitor, begin: async () => monitor?.emit('LIVE_UPDATE', await report) };
  });
}

interface Served {
  readonly monitor: Monitor | undefined;
  /** Starts the guest, or finishes the update; until then no update begins. */
  begin(): Promise<void>;
}

type Execute = (command: Command) => Promise<Json>;

async function serve(vm: Vm, open: (execute: Execute) => Promise<Served>): Promise<number> {
  let monitor: Monitor | undefined;
  const emit = (event: string, data?: JsonObject): void => monitor?.emit(event, data);
  let begun: Promise<void> | undefined;
  const update = new LiveUpdate({ vm, monitor: () => monitor, begun: () => begun });
  const commands = new Commands(vm, update, emit);
  vm.listen((message) => emit(message.event, 'data' in message ? message.data : undefined));
  for (const [signal, status] of Object.entries(SIGNAL_STATUS)) {
    process.once(signal, () => vm.shutdown(status, 'host-signal')); // a second one ends the process at once
  }
  try {
    const served = await open((command) => commands.execute(command));
    monitor = served.monitor;
    vm.parts.console.open();
    begun = served.begin();
    return await Promise.race([begun.then(() => vm.ended), vm.ended]);
  } finally {
    monitor?.close();
    vm.release();
  }
}
