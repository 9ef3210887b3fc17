/**
 * DPDK under `livevmm with`: its EAL finds devices and takes them through its own VFIO layer. Where
 * there is no DPDK the tests are skipped, and their names say what is needed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { Sandbox } from '../livevmm-process.ts';

const sourceOf = (name: string): string => fileURLToPath(new URL(`./${name}.c`, import.meta.url));
const flags = spawnSync('pkg-config', ['--cflags', '--libs', 'libdpdk'], { encoding: 'utf8' });
const hasDpdk = flags.status === 0 && hasCompiler();
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

describe.skipIf(!hasDpdk)('DPDK (Debian: libdpdk-dev and dpdk-dev)', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-dpdk-'));
  const trace = join(folder, 'trace');
  beforeAll(() => {
    for (const name of ['dpdk', 'dpdk-driver']) {
      const words = [...flags.stdout.trim().split(/\s+/), '-lrte_bus_pci'];
      execFileSync('cc', ['-w', '-o', join(folder, name), sourceOf(name), ...words]);
    }
  });
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  async function run(program: string, ...options: readonly string[]) {
    const words = [...MACHINE, ...options, `--trace=${trace}`, '--', join(folder, program), ...EAL];
    const { status, stdout } = await sandbox.run('with', ...words);
    return { status, said: stdout.trimEnd().split('\n').slice(-3), calls: readFileSync(trace, 'utf8') };
  }

  it('maps its memory for DMA and takes a device, which copies in that memory', async () => {
    expect(await run('dpdk')).toEqual({
      status: 0,
      said: ['9 regions, 5 irqs, noiommu 0', "page 1: by DMA, through EAL's mapping", 'released: 0'],
      calls: expect.stringMatching(/MAP_DMA, \{.*size=0x4000000\}\) = 0/),
    });
  });

  it.skipIf(process.arch !== 'x64')('maps a BAR of registers for a driver, which works with it', async () => {
    expect(await run('dpdk-driver', '--map-registers')).toEqual({
      status: 0,
      said: ['id 010000ed, 10! = 3628800', 'page 1: by DMA, through mapped registers', 'cleaned up: 0'],
      calls: expect.stringMatching(/SET_IRQS, .* = 0/),
    });
  });
});
