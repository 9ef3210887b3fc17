/**
 * A kexec of a host's kernel under running VMMs: the next kernel is loaded, each VMM saves its
 * guest into pkernfs, the kernel is replaced, and each VMM begins anew with the next one.
 */
import { codeOf } from '../../platform/errno.ts';
import { untilListening } from '../../platform/unix-listener.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { kexec, loadKernel, unloadKernel } from '../../vmm/client/kexec.ts';
import { CommandError } from '../cli/command.ts';
import { parseReport, UPDATE_TIMEOUT_MS, type UpdateReport } from './live-update.ts';
import { QmpClient } from './qmp-client.ts';

export interface KexecOptions {
  /** Folder of another built version, whose kernel and VMM come next. */
  readonly to?: string | undefined;
  readonly timeoutMs?: number;
}

/** A VMM before the kexec. */
export interface VmmBefore {
  readonly qmpPath: string;
  readonly qmp: QmpClient;
}

export interface VmmAfter {
  /** The former client is of no use any more. */
  readonly qmp: QmpClient;
  readonly report: UpdateReport;
}

/**
 * `hostSocket`: by default, of the host that the VMMs are on. Rejects when the kernel or a VMM
 * refuses; the guests then run on as before.
 */
export async function kexecUnder(
  hostSocket: string | undefined,
  vmms: readonly VmmBefore[],
  { to, timeoutMs = UPDATE_TIMEOUT_MS }: KexecOptions = {},
): Promise<VmmAfter[]> {
  const saved: VmmBefore[] = [];
  let client: KernelClient | undefined;
  try {
    const socketPath = hostSocket ?? (await hostOf(vmms[0], timeoutMs));
    client = new KernelClient(socketPath);
    loadKernel(client, to); // while the guests run
    for (const vmm of vmms) {
      const answer = await vmm.qmp.execute('x-kexec-save', to === undefined ? {} : { to }, timeoutMs);
      saved.push(vmm);
      const { host } = answer as { readonly host: string };
      if (host !== socketPath) throw new CommandError(`the VMM at ${vmm.qmpPath} is on another host: ${host}`);
    }
    await kexec(client, to);
    client.disconnect();
  } catch (error) {
    if (client) forgetKernel(client);
    for (const { qmp } of saved) await qmp.execute('x-kexec-cancel', {}, timeoutMs).catch(() => undefined);
    throw error;
  }
  return Promise.all(vmms.map((vmm) => reconnected(vmm, timeoutMs)));
}

/** The host that a VMM is on. */
async function hostOf(vmm: VmmBefore | undefined, timeoutMs: number): Promise<string> {
  if (!vmm) throw new CommandError('kexec of which host? Give --host or --qmp');
  const { host } = (await vmm.qmp.execute('x-query-kexec', {}, timeoutMs)) as { readonly host?: string };
  if (host === undefined) throw new CommandError(`the VMM at ${vmm.qmpPath} has no host`);
  return host;
}

/** The kexec does not take place. A host whose kernel has ended already has forgotten by itself. */
function forgetKernel(client: KernelClient): void {
  try {
    unloadKernel(client);
    client.disconnect();
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
  }
}

/**
 * An execve closes one fd after the other: a client whose connection has ended may still reach the
 * old socket, which then ends, too.
 */
async function connectToNext(qmpPath: string, timeoutMs: number): Promise<QmpClient> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    await untilListening(qmpPath, Math.max(1, deadline - performance.now()));
    try {
      return await QmpClient.connect(qmpPath);
    } catch (error) {
      if (!(error instanceof CommandError) || performance.now() > deadline) throw error;
    }
  }
}

async function reconnected({ qmpPath, qmp: before }: VmmBefore, timeoutMs: number): Promise<VmmAfter> {
  await before.untilClosed(timeoutMs);
  const qmp = await connectToNext(qmpPath, timeoutMs);
  const told = qmp.nextEvent(({ event }) => event === 'LIVE_UPDATE', timeoutMs);
  told.catch(() => undefined); // it may have been told before
  const { report } = (await qmp.execute('x-query-kexec', {}, timeoutMs)) as { readonly report?: object };
  const data = (report ?? (await told).data) as Record<string, unknown>;
  return { qmp, report: parseReport(data) };
}
