import { closeSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { type CacheFolder, openCacheFolder } from '../../../platform/cache-folder.ts';
import { close } from '../../../platform/libc/fd.ts';
import { takeTurn } from '../../../platform/turn.ts';
import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { keepSnapshot } from '../../../vmm/live-update/snapshot-cache.ts';
import { turnNames } from '../../../vmm/live-update/update-turn.ts';
import { whyNoNamespaces } from '../../namespaces.ts';
import { isTurn } from '../../turn.ts';
import { nodeThat } from '../successors.ts';
import { updateEnded, VmmProcess, type VmmSetting } from '../vmm-process.ts';

/** VMMs of one user share their successor's snapshot, and their updates take turns. */

const TIMEOUT_MS = 120_000;
/** These tests ask for snapshots and turns. */
const PROBATION_MS = 50;
let folder: string;
let cache: string;
/** Runs of node that make a snapshot, one line each. */
let log: string;
let node: string;
const vmms: { readonly vmm: VmmProcess; readonly qmp: QmpClient }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-shared-'));
  cache = join(folder, 'cache');
  log = join(folder, 'log');
  writeFileSync(log, '');
  node = nodeThat(join(folder, 'node'), `case "$*" in *--build-snapshot*) echo made >>${log} ;; esac`);
});

afterEach(async () => {
  for (const { vmm, qmp } of vmms.splice(0)) {
    qmp.close();
    expect(await vmm.end()).toEqual([]);
  }
  rmSync(folder, { recursive: true });
});

async function start(setting: Partial<VmmSetting> = {}): Promise<QmpClient> {
  const vmm = new VmmProcess({ guest: 'demo', env: { LIVEVMM_CACHE: cache }, ...setting });
  await vmm.prints(/demo: .*\n/);
  const qmp = await vmm.monitor();
  vmms.push({ vmm, qmp });
  return qmp;
}

async function update(qmp: QmpClient): Promise<Readonly<Record<string, unknown>>> {
  const [{ data }] = await Promise.all([
    qmp.nextEvent(updateEnded, TIMEOUT_MS),
    qmp.execute('live-update', { node, probation: PROBATION_MS }),
  ]);
  return data;
}

const updated = (snapshot: 'kept' | 'made') => ({ status: 'completed', prepared: { snapshot } });
const made = (): number => readFileSync(log, 'utf8').split('\n').length - 1;
const snapshots = (): string[] => readdirSync(cache).filter((name) => name.endsWith('.snapshot'));

function opened<T>(use: (folder: CacheFolder) => T): T {
  const open = openCacheFolder({ LIVEVMM_CACHE: cache })!;
  try {
    return use(open);
  } finally {
    closeSync(open.fd);
  }
}

/** A turn in the cache's folder. */
async function take(name: string): Promise<number> {
  const fd = await takeTurn([join(cache, name)], { holderMs: TIMEOUT_MS, totalMs: TIMEOUT_MS });
  return fd!;
}

/** How often others have asked for a turn of ours: their connections have the socket's name. */
function waiting(name: string): number {
  const sockets = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return sockets.filter((line) => line.includes(` ${join(cache, name)}`)).length - 1;
}

describe('the snapshot', () => {
  it('is made once for VMMs that update at once, and again for none that comes later', async () => {
    const clients = await Promise.all([start(), start(), start()]);
    const reports = await Promise.all(clients.map(update));
    expect(reports.map(({ status }) => status)).toEqual(['completed', 'completed', 'completed']);
    expect(made()).toBe(1);
    expect(await update(clients[0]!)).toMatchObject({ ...updated('kept'), generation: 2 });
    expect(made()).toBe(1);
    expect(snapshots()).toHaveLength(1);
  });

  it('is waited for while another VMM makes it', async () => {
    const qmp = await start();
    await update(qmp);
    const [name] = snapshots();
    renameSync(join(cache, name!), join(folder, name!));
    const making = await take('making');
    const asked = qmp.execute('query-live-update', { node });
    await vi.waitUntil(() => waiting('making') > 0);
    renameSync(join(folder, name!), join(cache, name!));
    close(making);
    expect(await asked).toMatchObject({ refusals: [] });
    expect(made()).toBe(1);
  });

  it.runIf(isTurn(0, 5))('is made anew when the kept one is damaged', async () => {
    const qmp = await start();
    await update(qmp);
    const [name] = snapshots();
    writeFileSync(join(cache, name!), 'rubbish');
    expect(await update(qmp)).toMatchObject(updated('made'));
    expect(await update(qmp)).toMatchObject(updated('kept'));
    expect(made()).toBe(2);
  });

  it.runIf(isTurn(1, 5))('is made anew when the node refuses the kept one', async () => {
    const qmp = await start();
    await update(qmp);
    const key = snapshots()[0]!.replace('.snapshot', '');
    opened((open) => keepSnapshot(open, key, Buffer.alloc(1 << 20, 'no snapshot of this node')));
    expect(await update(qmp)).toMatchObject(updated('made'));
    expect(await update(qmp)).toMatchObject(updated('kept'));
  });

  it.runIf(isTurn(2, 5))('is not shared by two nodes', async () => {
    const qmp = await start();
    await update(qmp);
    node = nodeThat(join(folder, 'other'), `echo made >>${log}.other`);
    expect(await update(qmp)).toMatchObject(updated('made'));
    expect(snapshots()).toHaveLength(2);
  });

  it.runIf(isTurn(3, 5))('is made by each update where there is no cache', async () => {
    const qmp = await start({ env: { LIVEVMM_CACHE: '' } });
    expect(await update(qmp)).toMatchObject(updated('made'));
    expect(await update(qmp)).toMatchObject(updated('made'));
  });

  it.runIf(isTurn(4, 5))('is made by each update where the disk is full', async (context) => {
    const why = whyNoNamespaces();
    context.skip(why !== undefined, `no namespaces: ${why}`);
    const mount = 'mkdir -m 700 "$0" && mount -t tmpfs -o size=1m,mode=700 none "$0" && exec "$@"';
    const under = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, cache];
    const qmp = await start({ under });
    expect(await update(qmp)).toMatchObject(updated('made'));
    expect(await update(qmp)).toMatchObject(updated('made'));
  });
});

describe("an update's turn", () => {
  it('is waited for while the guest runs, and goes over the exec', async () => {
    const qmp = await start();
    await update(qmp); // makes the folder
    const events: string[] = [];
    qmp.listen(({ event }) => events.push(event));
    const fds = await Promise.all(turnNames().map(take));
    const ended = update(qmp);
    await qmp.nextEvent(({ data }) => data.status === 'started', TIMEOUT_MS);
    expect(await qmp.execute('query-status')).toMatchObject({ running: true });
    for (const fd of fds) close(fd);
    expect(await ended).toMatchObject(updated('kept'));
    expect(events).toEqual(['LIVE_UPDATE', 'STOP', 'RESUME', 'LIVE_UPDATE']);
    for (const fd of await Promise.all(turnNames().map(take))) close(fd); // the new image has ended its own
  });
});
