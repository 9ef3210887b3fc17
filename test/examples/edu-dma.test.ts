import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { HostProcess } from '../../tools/launch/host.ts';

/** examples/: programs of a package user, who has nothing of ours but `livevmm/client`. */

const run = promisify(execFile);
const inRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const tsc = (project: string): Promise<unknown> => run(inRoot('node_modules/.bin/tsc'), ['-p', inRoot(project)]);

describe('examples/edu-dma', () => {
  let host: HostProcess;
  beforeAll(async () => {
    host = await HostProcess.start(['capture', 'edu,dma-latency-ms=0']);
  });
  afterAll(() => host.stop());

  it('computes, copies by DMA and interrupts, against a host as its user starts one', async () => {
    const { stdout } = await run(process.execPath, [inRoot('examples/edu-dma/main.mjs'), host.socket]);

    expect(stdout.trimEnd().split('\n')).toEqual([
      '0000:00:03.0: 10! = 3628800',
      'page 1: by DMA, through an IOMMU',
      'interrupt: came, for 0x1',
      'unmapped 65536 bytes; page 1: untouched',
    ]);
  });

  it('says so where no host listens', async () => {
    const path = `${host.dir}/nobody`;
    const failure = run(process.execPath, [inRoot('examples/edu-dma/main.mjs'), path]);

    await expect(failure).rejects.toMatchObject({ stderr: expect.stringContaining(`connect ${path}: ENOENT`) });
  });
});

it('the types of livevmm/client fit what the examples do with it', async () => {
  await tsc('tsconfig.client.json');
  await expect(tsc('test/examples')).resolves.toMatchObject({ stdout: '' });
});
