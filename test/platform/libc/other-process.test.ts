import { describe, expect, it } from 'vitest';

import { close } from '../../../platform/libc/fd.ts';
import {
  getRlimit,
  pidfdGetfd,
  pidfdOpen,
  processVmRead,
  RLIMIT_MEMLOCK,
} from '../../../platform/libc/other-process.ts';
import { VmChild } from '../vm-child.ts';
import { code } from './code.ts';

describe('another process', () => {
  it('can be read; a hole is EFAULT', async () => {
    const { child, at } = await VmChild.start();
    const bytes = new Uint8Array(4);

    expect(processVmRead(child.pid, at.private, bytes)).toBe(4);

    expect([...bytes]).toEqual([0x22, 0x22, 0x22, 0x22]);
    expect(() => processVmRead(child.pid, 0x1000, bytes)).toThrow(code('EFAULT'));
    await child.kill();
  });

  it('has fds that can be fetched; those it does not have are EBADF', async () => {
    const { child, at } = await VmChild.start();
    const pidfd = pidfdOpen(child.pid);

    const fd = pidfdGetfd(pidfd, at.memfd);

    expect(() => pidfdGetfd(pidfd, 9999)).toThrow(code('EBADF'));
    close(fd);
    close(pidfd);
    await child.kill();
    expect(() => pidfdOpen(child.pid)).toThrow(code('ESRCH'));
  });

  it('has limits that can be read', () => {
    const { soft, hard } = getRlimit(process.pid, RLIMIT_MEMLOCK);

    expect(soft <= hard).toBe(true);
  });
});
