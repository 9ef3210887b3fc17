/** A device in another process stores code into a guest that runs translated. */
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { nodeEnv } from '../../platform/node-env.ts';
import { Child } from '../../tools/launch/child.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { vmmArgv } from '../../tools/launch/vmm.ts';

const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffff';

it('what edu has stored over hot code runs after a FENCE.I', async () => {
  const host = await HostProcess.start([EDU]);
  try {
    const plan = {
      host: host.socket,
      bdfs: host.devices.map(({ bdf }) => bdf),
      memory: '64M',
      kernel: guestPath('dma-code'),
      qmp: join(host.dir, 'qmp.sock'),
    };
    const lines: string[] = [];
    const vmm = new Child({ name: 'the VMM', argv: vmmArgv(plan), lifeline: true, env: nodeEnv() });
    vmm.onLine('stdout', (line) => lines.push(line));
    try {
      const { status } = await vmm.closed;
      expect([lines, status]).toEqual([['@dma-code good 2048000 bad 0'], 0]);
    } finally {
      await vmm.stop();
    }
  } finally {
    await host.stop();
  }
});
