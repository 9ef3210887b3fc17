/**
 * The device tree against the one that QEMU makes for `virt` with the same `aia=`. Older QEMUs gave
 * the nodes of IMSIC and APLIC other names.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

import { hasCprExec, QEMU, qemuVersion } from '../../../tools/demo/qemu/command.ts';
import { deviceTree } from '../../../vmm/machine/device-tree.ts';
import type { Aia } from '../../../vmm/machine/shared/wired-devices.ts';
import { Sandbox } from '../../tools/livevmm-process.ts';
import { cellsOf, readFdt, type Tree } from './read-fdt.ts';

const HARTS = 2;
const RAM_BYTES = 128 << 20;

/** Where in these properties phandles stand. */
const PHANDLES: Readonly<Record<string, (at: number, cells: number) => boolean>> = {
  'interrupt-parent': () => true,
  'msi-parent': () => true,
  'riscv,children': () => true,
  'riscv,delegation': (at) => at === 0,
  'interrupts-extended': (at) => at % 2 === 0,
  // 16 entries: address of the child, pin, phandle, one cell or two
  'interrupt-map': (at, cells) => at % (cells / 16) === 4,
};
/** What is ours: an older name for `riscv,delegation`, a cell that is 0 anyway, one bus. */
const OURS = ['riscv,delegate', '#msi-cells', 'bus-range', 'phandle'];

/** The properties of the devices; a phandle is the path of its node. */
function devices(tree: Tree): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  const nodes = [...tree].flatMap(([path, properties]) => {
    const phandle = properties.get('phandle');
    return phandle ? [[phandle.readUInt32BE(), path] as const] : [];
  });
  const paths = new Map(nodes);
  const plain = (name: string, value: Buffer): unknown => {
    const isPhandle = PHANDLES[name];
    if (!isPhandle) return value.toString('latin1');
    const cells = cellsOf(value);
    return cells.map((cell, at) => (isPhandle(at, cells.length) ? (paths.get(cell) ?? 'nothing') : cell));
  };
  return Object.fromEntries(
    [...tree]
      .filter(([path]) => /^\/(soc\/|fw-cfg|memory)/.test(path))
      .map(([path, properties]) => [
        path,
        Object.fromEntries(
          [...properties].filter(([name]) => !OURS.includes(name)).map(([name, value]) => [name, plain(name, value)]),
        ),
      ]),
  );
}

describe.runIf(hasCprExec(qemuVersion()))('the device tree', () => {
  let sandbox: Sandbox;
  beforeAll(() => {
    sandbox = new Sandbox();
    return () => sandbox.remove();
  });

  function ofQemu(aia: Aia): Tree {
    const file = join(sandbox.dir, `${aia}.dtb`);
    const [command = '', ...words] = QEMU;
    const machine = ['-machine', `virt,aia=${aia},dumpdtb=${file}`, '-smp', `${HARTS}`, '-m', `${RAM_BYTES >> 20}M`];
    execFileSync(command, [...words, ...machine, '-bios', 'none', '-display', 'none'], { stdio: 'ignore' });
    return readFdt(readFileSync(file));
  }

  it.each(['none', 'aplic-imsic'] as const)('has the devices of QEMU with aia=%s, wired as there', (aia) => {
    const options = { ramSize: RAM_BYTES, harts: HARTS, aia, aplic: aia !== 'none' };
    expect(devices(readFdt(deviceTree(options)))).toEqual(devices(ofQemu(aia)));
  });
});
