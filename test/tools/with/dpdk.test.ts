/** DPDK under `livevmm with`: its EAL finds devices and takes them through its own VFIO layer. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Sandbox } from '../livevmm-process.ts';

const SOURCE = fileURLToPath(new URL('./dpdk.c', import.meta.url));
/** Debian: libdpdk-dev and dpdk-dev. */
const flags = spawnSync('pkg-config', ['--cflags', '--libs', 'libdpdk'], { encoding: 'utf8' });
const hasDpdk = flags.status === 0 && spawnSync('cc', ['--version']).status === 0;
/** No pages of a hugetlbfs; iovas are vaddrs; files under a name that no other DPDK has. */
const EAL = ['--no-huge', '--iova-mode=va', '-m', '64', '--no-telemetry', `--file-prefix=livevmm-${process.pid}`];
/** A kernel that writes 8 bytes of a BAR at once: iovas are above 4 GiB. */
const MACHINE = [
  '--profile',
  '6.12',
  '--memlock',
  'unlimited',
  '--device',
  'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff',
];

describe.skipIf(!hasDpdk)('DPDK', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-dpdk-'));
  const program = join(folder, 'dpdk');
  const trace = join(folder, 'trace');
  beforeAll(() => execFileSync('cc', ['-w', '-o', program, SOURCE, ...flags.stdout.trim().split(/\s+/)]));
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  it('maps its memory for DMA and takes a device, which copies in that memory', async () => {
    const { status, stdout } = await sandbox.run('with', ...MACHINE, `--trace=${trace}`, '--', program, ...EAL);
    expect({ status, said: stdout.trimEnd().split('\n').slice(-3) }).toEqual({
      status: 0,
      said: ['9 regions, 5 irqs, noiommu 0', "page 1: by DMA, through EAL's mapping", 'released: 0'],
    });
    expect(readFileSync(trace, 'utf8')).toMatch(/MAP_DMA, \{.*size=0x4000000\}\) = 0/);
  });
});
