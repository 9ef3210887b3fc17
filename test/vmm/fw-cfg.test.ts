/** A guest that reads fw_cfg, while its VMM is replaced between two bytes of a file. */
import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';

import { guestPath } from '../../tools/launch/programs.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;
const QEMU = 'qemu-system-riscv64';

let vmm: VmmProcess;

afterEach(async () => {
  expect(await vmm.end()).toEqual([]);
});

const WIRED = ['-machine', 'virt,aia=none'];
const FIRST = `QEMU id 3 harts 1 dma 51454d5520434647\n`;

describe('a guest that reads fw_cfg', () => {
  it('finds its files, and goes on in one after updates', async () => {
    vmm = new VmmProcess('fwcfg', ...WIRED, '-fw_cfg', 'name=opt/text,string=hey', '-fw_cfg', 'opt/b,string=x');
    await vmm.prints(/none 0\n/);
    expect(vmm.output).toBe(
      `${FIRST}file opt/b 1\nfile opt/text 3\ndma read 0 68.65.79.0.\ndma write 1\nnowhere 1\nnone 0\n`,
    );
    const qmp = await vmm.monitor();
    vmm.child.stdin.write('n');
    await vmm.prints(/next 68\n/);
    for (const [mode, byte] of [
      ['exec', '65'],
      ['transfer', '79'],
    ]) {
      const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
      await qmp.execute('live-update', { mode, probation: 0 });
      expect((await ended).data).toMatchObject({ status: 'completed' });
      vmm.child.stdin.write('n');
      await vmm.prints(new RegExp(`next ${byte}\n`));
    }
    qmp.close();
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([0, null]);
  });

  it.runIf(spawnSync(QEMU, ['--version']).status === 0)('finds the same on QEMU without files', async () => {
    vmm = new VmmProcess('fwcfg', ...WIRED);
    await vmm.prints(/none 0\n/);
    const words = ['-M', 'virt', '-bios', 'none', '-kernel', guestPath('fwcfg'), '-display', 'none'];
    const { stdout } = spawnSync(QEMU, [...words, '-monitor', 'none', '-serial', 'stdio'], {
      input: 'x',
      timeout: TIMEOUT_MS,
      encoding: 'utf8',
    });
    expect(vmm.output).toBe(stdout);
  });

  it.each([
    [['-fw_cfg', 'name=opt/a,file=/nonexistent'], '-fw_cfg: /nonexistent: cannot be read (ENOENT)'],
    [['-fw_cfg', 'name=opt/a,file=/dev/null'], '-fw_cfg: /dev/null: not a regular file'],
    [['-fw_cfg', 'opt/a'], 'give file=PATH or string=TEXT'],
    [['-fw_cfg', `opt/${'a'.repeat(60)},string=x`], 'a name has at most 55 bytes'],
  ])('is refused %j', async (words, error) => {
    vmm = new VmmProcess('fwcfg', ...WIRED, ...words);
    expect(await vmm.exited).toEqual([1, null]);
    expect(vmm.errors).toContain(error);
  });
});
