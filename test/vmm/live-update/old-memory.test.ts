import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, it, vi } from 'vitest';

import { nodeThatOnResume } from '../../../tools/demo/bad-successors/successors.ts';
import { DemoVmm } from '../demo-vmm.ts';

/** The memory of the old image: a process holds it while the new one starts. */

const demo = DemoVmm.forEachTest();

/** The children of the VMM that have nothing open but the file that such a process waits for. */
function holders(): number[] {
  const tasks = `/proc/${demo.vmm.pid}/task`;
  const children = readdirSync(tasks).flatMap((tid) => readFileSync(`${tasks}/${tid}/children`, 'latin1').split(' '));
  return children.filter(Boolean).map(Number).filter(isHolder);
}

function isHolder(pid: number): boolean {
  const fds = `/proc/${pid}/fd`;
  try {
    return (
      readdirSync(fds)
        .map((fd) => readlinkSync(`${fds}/${fd}`))
        .join() === '/memfd:livevmm-lease (deleted)'
    );
  } catch {
    return false; // it has ended meanwhile
  }
}

/** Begins an update whose successor waits for a word; resolves when it does. */
async function halfway(): Promise<{
  readonly holder: number;
  goOn(): void;
  readonly ended: ReturnType<DemoVmm['updateEnds']>;
}> {
  const gate = join(demo.folder, 'gate');
  execFileSync('mkfifo', [gate]);
  const ended = demo.updateEnds();
  await demo.qmp.execute('live-update', { node: nodeThatOnResume(join(demo.folder, 'node'), `read -r _ < ${gate}`) });
  const holder = await vi.waitFor(() => {
    expect(readFileSync(`/proc/${demo.vmm.pid}/cmdline`, 'latin1')).toMatch(/^\/bin\/sh\0/); // the successor's
    expect(holders()).toHaveLength(1);
    return holders()[0]!;
  }, 60_000);
  return { holder, goOn: () => writeFileSync(gate, '\n'), ended };
}

it('is held until the new image runs the guest, and by nobody when the update is completed', async () => {
  const { goOn, ended } = await halfway();
  goOn();
  expect((await ended).data).toMatchObject({ status: 'completed', generation: 1 });
  expect(holders()).toEqual([]);
  expect(await demo.update()).toMatchObject({ status: 'completed', generation: 2 });
  expect(holders()).toEqual([]);
});

it('is held no longer when the new image is killed', async () => {
  const { holder, ended } = await halfway();
  process.kill(demo.vmm.pid, 'SIGKILL');
  expect((await ended).data).toMatchObject({ status: 'failed', generation: 0 });
  await vi.waitFor(() => expect(isHolder(holder)).toBe(false));
});
