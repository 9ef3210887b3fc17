import { dirname } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { parseUri } from '../../../../vmm/live-update/migration/channels.ts';
import { execTarget } from '../../../../vmm/live-update/migration/exec-command.ts';
import type { VmOptions } from '../../../../vmm/vm/vm-state.ts';

const NODE = process.execPath;
const ENTRY = '/opt/livevmm-2/dist/vmm.cjs';
const OPTIONS: VmOptions = {
  memory: 64 * 2 ** 20,
  kernel: 'guest.elf',
  devices: ['0000:00:02.0'],
  host: '/run/host.sock',
  qmp: '/run/qmp.sock',
  lifeline: 9,
};
const MACHINE = ['-m', '64M', '--kernel', 'guest.elf', '--host', '/run/host.sock', '--qmp', '/run/qmp.sock'];
const DEVICE = ['--device', 'vfio-pci,host=0000:00:02.0'];
const running = { entry: '/opt/livevmm-1/dist/vmm.cjs', options: OPTIONS, main: parseUri('file:/tmp/state') };
const target = (...command: string[]) => execTarget(command, running);

afterEach(() => vi.unstubAllEnvs());

describe('cpr-exec-command', () => {
  it.each([
    { what: 'a whole command line', words: [...MACHINE, ...DEVICE, '-incoming', 'file:/tmp/state'] },
    { what: '-incoming with two dashes, and an offset', words: ['--incoming', 'file:/tmp/state,offset=0'] },
    { what: 'the program only', words: [] },
    { what: 'a path in another spelling', words: [...MACHINE.with(3, `${process.cwd()}/guest.elf`), ...DEVICE] },
  ])('names node and build: $what', ({ words }) => {
    expect(target(NODE, ENTRY, ...words)).toEqual({ node: NODE, to: '/opt/livevmm-2/dist' });
  });

  it('may be the program itself, or name node as in PATH', () => {
    vi.stubEnv('PATH', `/nonexistent:${dirname(NODE)}`);
    expect(target(ENTRY)).toEqual({ node: `${dirname(NODE)}/node`, to: '/opt/livevmm-2/dist' });
    expect(target('node', ENTRY)).toEqual({ node: `${dirname(NODE)}/node`, to: '/opt/livevmm-2/dist' });
  });

  it('may name another program in the place of node', () => {
    expect(target('/opt/node-with-log', ENTRY)).toEqual({ node: '/opt/node-with-log', to: '/opt/livevmm-2/dist' });
  });

  it.each([
    {
      command: ['/usr/bin/qemu-system-riscv64', '-M', 'virt'],
      error: 'no livevmm: give a node, then the vmm.cjs of a',
    },
    { command: [NODE], error: 'no livevmm: give a node, then the vmm.cjs of a built version' },
    { command: [NODE, '/opt/livevmm/dist/livevmm.cjs', 'run'], error: 'no livevmm: give a node, then the vmm.cjs' },
    { command: ['no-such-program', ENTRY], error: 'no-such-program: not in PATH' },
    { command: [NODE, '--jitless', ENTRY], error: "options for node (--jitless) must be those of this VMM's node" },
    { command: [NODE, ENTRY, '--nonsense'], error: "Unknown option '--nonsense'" },
    { command: [NODE, ENTRY, '-m', '64M'], error: 'give --kernel FILE' },
    {
      command: [NODE, ENTRY, ...MACHINE.with(1, '128M'), ...DEVICE],
      error: 'memory 134217728, but this VMM has 67108864: an update does not change the machine',
    },
    { command: [NODE, ENTRY, ...MACHINE], error: 'devices none, but this VMM has 0000:00:02.0: an update does not' },
    {
      command: [NODE, ENTRY, '-m', '64M', '--kernel', 'guest.elf', ...DEVICE, '--host', '/run/host.sock'],
      error: 'qmp none, but this VMM has /run/qmp.sock: an update does not change the machine',
    },
    { command: [NODE, ENTRY, '-incoming'], error: '-incoming: name the URI' },
    { command: [NODE, ENTRY, '-incoming', 'defer'], error: '-incoming defer: the new image takes the guest at once' },
    { command: [NODE, ENTRY, '-incoming', 'tcp:0:1'], error: 'unknown migration protocol: tcp:0:1' },
    {
      command: [NODE, ENTRY, '-incoming', 'file:/tmp/other'],
      error: '-incoming file:/tmp/other, but the migration goes to file:/tmp/state',
    },
  ])('is refused in one line: $error', ({ command, error }) => {
    expect(() => target(...command)).toThrow(`cpr-exec-command: ${error}`);
    expect(() => target(...command)).toThrow(/^[^\n]+$/);
  });
});
