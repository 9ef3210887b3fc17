import { existsSync, mkdtempSync, readFileSync, readlinkSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { buildTree, type Machine } from '../../../tools/with/tree/build.ts';

const BDF = '0000:00:02.0';
const DEVICE = `/sys/devices/pci0000:00/${BDF}`;
let root: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'with-tree-')));
});
afterEach(() => rmSync(root, { recursive: true }));

function build(profile: string, isRoot = true, rom: { start: number; size: number } | null = null): void {
  const functions = [{ bdf: BDF, group: 0, config: new Uint8Array(256), bars: [], rom }];
  const info = { profile, groups: [{ group: 0 }], devices: [], units: [] };
  buildTree(root, { functions, info } as unknown as Machine, isRoot);
}

const target = (path: string): string => realpathSync(join(root, path)).slice(root.length);
const bytesOf = (path: string): number => readFileSync(join(root, path)).length;

describe('the folder tree of a program', () => {
  it('has the device on its bus, at its driver and in its group', () => {
    build('5.12');
    for (const folder of [
      '/sys/bus/pci/devices',
      '/sys/bus/pci/drivers/vfio-pci',
      '/sys/kernel/iommu_groups/0/devices',
    ]) {
      expect(target(`${folder}/${BDF}`)).toBe(DEVICE);
    }
    expect(readlinkSync(join(root, DEVICE, 'iommu_group'))).toBe('../../../kernel/iommu_groups/0');
    expect(readFileSync(join(root, DEVICE, 'numa_node'), 'latin1')).toBe('-1\n');
  });

  it('has the device in the class of VFIO where the kernel has one (6.1)', () => {
    build('6.12');
    expect(target('/sys/class/vfio-dev/vfio0')).toBe(`${DEVICE}/vfio-dev/vfio0`);
    expect(target(`${DEVICE}/vfio-dev/vfio0/device`)).toBe(DEVICE);
  });

  it('has no such class before', () => {
    build('5.12');
    expect([existsSync(join(root, DEVICE, 'vfio-dev')), existsSync(join(root, '/sys/class'))]).toEqual([false, false]);
  });

  it('tells of an expansion ROM, which is for root only', () => {
    build('7.2', true, { start: 0xfb00_0000, size: 0x8_0000 });
    const lines = readFileSync(join(root, DEVICE, 'resource'), 'latin1').split('\n');
    expect(lines[6]).toBe('0x00000000fb000000 0x00000000fb07ffff 0x0000000000046200');
    const { size, mode } = statSync(join(root, DEVICE, 'rom'));
    expect([size, mode & 0o777]).toEqual([0x8_0000, 0o600]);
  });

  it('has no file for a ROM that there is not', () => {
    build('7.2');
    const lines = readFileSync(join(root, DEVICE, 'resource'), 'latin1').split('\n');
    expect(lines[6]).toBe(lines[7]);
    expect(existsSync(join(root, DEVICE, 'rom'))).toBe(false);
  });

  it.each([
    ['root', true, 256],
    ['anybody', false, 64],
  ])('shows %s as much of configuration space as Linux', (_, isRoot, bytes) => {
    build('7.2', isRoot);
    expect(bytesOf(`${DEVICE}/config`)).toBe(bytes);
  });
});
