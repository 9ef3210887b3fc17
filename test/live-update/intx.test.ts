/**
 * A guest whose devices interrupt by wire, through updates of its VMM and of the host's kernel.
 * With an APLIC every other wire belongs to its S domain, and leads to the S-level interrupt file.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import { kexecUnder } from '../../tools/clients/kexec.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { updateEnded, VmmProcess } from '../vmm/vmm-process.ts';

const TIMEOUT_MS = 60_000;

let host: HostProcess;
let vmm: VmmProcess;
let qmp: QmpClient;

beforeEach(async () => {
  host = await HostProcess.start(['edu', 'edu', 'edu', 'edu', 'edu'], ['--pkernfs', '128M']);
});
afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
  await host.stop();
});

/** A VMM with all devices of the host. */
async function start(aia: string, ...options: readonly string[]): Promise<void> {
  const passed = host.devices.flatMap(({ bdf }) => ['--device', `vfio-pci,host=${bdf}`]);
  vmm = new VmmProcess('intx', '-machine', `virt,aia=${aia}`, '--host', host.socket, ...options, ...passed);
  qmp = await vmm.monitor();
  await vmm.prints(/intx: 5 devices/);
}

/** The counts, after so many more interrupts of each device, of which none is lost. */
async function goesOn(more = 10): Promise<Record<string, number>> {
  const from = (await vmm.stats()).least!;
  for (;;) {
    const stats = await vmm.stats();
    expect(stats.lost).toBe(0);
    if (stats.least! > from + more) return stats;
  }
}

describe('a guest with INTx', () => {
  it.each([['none'], ['aplic-imsic']])(
    'loses no interrupt while its VMM is replaced, and the kernel of its host: aia=%s',
    async (aia) => {
      await start(aia, '--pkernfs', 'guest');
      for (const mode of ['exec', 'transfer']) {
        await goesOn();
        const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
        await qmp.execute('live-update', { mode, probation: 0 });
        expect((await ended).data).toMatchObject({ status: 'completed' });
      }
      await goesOn();
      // lines are up all the time: five devices interrupt as soon as the guest has served them
      const [after] = await kexecUnder(host.socket, [{ qmpPath: vmm.qmpPath, qmp }]);
      qmp = after!.qmp;
      await qmp.execute('stop');
      await qmp.execute('cont');
      const { twice, taken } = await goesOn();
      expect(twice).toBeGreaterThanOrEqual(taken! / 2 - 5);
      vmm.child.stdin.write('x');
      expect(await vmm.exited).toEqual([0, null]);
    },
  );

  it('loses no message of the APLIC when its VMM dies', async () => {
    await start('aplic-imsic', '--guardian', 'always');
    const pid = await standingGuardian(qmp, TIMEOUT_MS);
    await goesOn(2); // its state is published after each access to a device
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(vmm.pid, 'SIGKILL');
    expect((await taken).data).toMatchObject({ pid });
    await goesOn(2);
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([0, null]);
  });
});
