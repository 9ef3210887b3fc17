import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { Child } from '../../../tools/launch/child.ts';
import { programArgv } from '../../../tools/launch/programs.ts';
import { UNSHARE, whyNoNamespaces } from '../../namespaces.ts';
import { Sandbox } from '../../tools/livevmm-process.ts';
import { ClientProcess } from '../clients/client-process.ts';

const unable = whyNoNamespaces();

describe.skipIf(unable !== undefined)('a host in a PID namespace below that of its client', () => {
  it('says that it cannot see it', async () => {
    const sandbox = new Sandbox();
    const socket = join(sandbox.dir, 'host');
    const words = programArgv('livevmm', 'host', '--json', '--socket', socket, '--device', 'edu');
    const host = new Child({ name: 'the host', argv: [...UNSHARE, ...words] });
    await host.firstDocument();

    const { status, stderr } = await sandbox.run('info', '--host', socket);

    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^livevmm: .*another PID namespace: start the host in/),
    });
    host.kill('SIGKILL');
    await host.exited;
    sandbox.remove();
  });
});

describe.skipIf(unable !== undefined)(
  `a client in a PID namespace of its own${unable ? ` (skipped: ${unable})` : ''}`,
  () => {
    let dir: string;
    let board: Board;
    let client: ClientProcess;

    beforeEach(async () => {
      dir = mkdtempSync(join(tmpdir(), 'livevmm-pidns-'));
      const devices = [{ type: 'edu', properties: { 'dma-latency-ms': '0', 'dma-mask': '0xffffffff' } }];
      const memory = { kernelRamBytes: 16 << 20, memlock: 'as-process' as const };
      board = await startHost({ devices, socketPath: join(dir, 'host'), ...memory, profile: '6.12' });
    });
    afterEach(async () => {
      await client.end();
      await board.stop();
      rmSync(dir, { recursive: true });
    });

    it('has devices, DMA and an exec as any other; root of a user namespace is not capable(CAP_IPC_LOCK)', async () => {
      client = new ClientProcess({ name: 'pid-namespace', launcher: UNSHARE }, join(dir, 'host'));

      expect(await client.says()).toEqual({ pid: 1, isLeader: true, uid: 0, beyondLimit: 'ENOMEM' });
      expect(board.info().devices[0]).toMatchObject({ faults: 0, bytesWritten: 16 });
      expect(await client.says()).toEqual({ pid: 1, unmapped: 4 * 4096 });
      expect(await client.ended).toEqual([0, null]);
    });
  },
);
