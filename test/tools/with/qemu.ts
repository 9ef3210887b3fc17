/** QEMU's riscv `virt` machine under `livevmm with`, with devices of a host passed through. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { vi } from 'vitest';
import { monotonicNs } from '../../../platform/clock.ts';
import { HostClient } from '../../../tools/clients/host-client.ts';
import { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { Child } from '../../../tools/launch/child.ts';
import { GuestConsole } from '../../../tools/launch/guest-console.ts';
import { guestPath, programArgv } from '../../../tools/launch/programs.ts';

/** The command of QEMU, in words; another one than that on the PATH by LIVEVMM_QEMU_RISCV64. */
export const QEMU = (process.env.LIVEVMM_QEMU_RISCV64 ?? 'qemu-system-riscv64').split(' ');

/** `11.1.3`; undefined where there is no QEMU. */
export const qemuVersion: string | undefined = / version ([\d.]+)/.exec(
  spawnSync(QEMU[0]!, [...QEMU.slice(1), '--version'], { encoding: 'utf8' }).stdout ?? '',
)?.[1];

/** cpr-exec came with 10.2. */
export const hasCprExec = qemuVersion !== undefined && Number.parseFloat(qemuVersion) >= 10.2;

const SHT_SYMTAB = 2;
/** `c.li a0, 1` and `c.ret` */
const RETURN_TRUE = Uint8Array.of(0x05, 0x45, 0x82, 0x80);

/**
 * The demo guest without interrupts: its function that enables MSI only says that it has. It then
 * looks for frames with each tick of its timer. A QEMU without KVM cannot hand MSI on.
 */
export function pollingGuest(folder: string): string {
  const elf = readFileSync(guestPath('demo'));
  elf.set(RETURN_TRUE, fileOffsetOf(elf, 'pcie_enable_msi'));
  const path = join(folder, 'polling.elf');
  writeFileSync(path, elf);
  return path;
}

/** Where the first byte of a function lies in a 64-bit ELF. */
function fileOffsetOf(elf: Buffer, name: string): number {
  const u64 = (at: number): number => Number(elf.readBigUInt64LE(at));
  const headers = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => u64(40) + i * elf.readUInt16LE(58));
  const symbols = headers.find((at) => elf.readUInt32LE(at + 4) === SHT_SYMTAB)!;
  const names = u64(headers[elf.readUInt32LE(symbols + 40)]! + 24);
  for (let at = u64(symbols + 24); at < u64(symbols + 24) + u64(symbols + 32); at += 24) {
    const start = names + elf.readUInt32LE(at);
    if (elf.toString('latin1', start, elf.indexOf(0, start)) !== name) continue;
    const section = headers[elf.readUInt16LE(at + 6)]!;
    return u64(at + 8) - u64(section + 16) + u64(section + 24);
  }
  throw new Error(`no symbol ${name}`);
}

/** One update as seen from outside. Times are CLOCK_MONOTONIC. */
export interface QemuUpdate {
  /** In [execNs, monitorNs) the old image was gone and the new one had not begun to listen. */
  readonly execNs: number;
  readonly monitorNs: number;
  readonly pteWrites: number;
}

export interface QemuPlan {
  readonly folder: string;
  /** Where the host listens. */
  readonly host: string;
  readonly bdfs: readonly string[];
  readonly elf: string;
}

export class QemuMachine {
  readonly console: GuestConsole;
  readonly child: Child;
  readonly host: HostClient;
  #qmp: QmpClient;
  readonly #argv: readonly string[];
  readonly #monitor: string;
  readonly #state: string;

  private constructor(plan: QemuPlan, child: Child, argv: readonly string[]) {
    this.child = child;
    this.console = new GuestConsole(child.stdout, child.stdin);
    this.host = new HostClient(plan.host);
    this.#argv = argv;
    this.#monitor = join(plan.folder, 'qmp');
    this.#state = join(plan.folder, 'state');
    this.#qmp = undefined as unknown as QmpClient; // start() connects it before anybody has the machine
  }

  static async start(plan: QemuPlan): Promise<QemuMachine> {
    const { folder, host, bdfs, elf } = plan;
    const argv = [
      ...QEMU,
      ...['-machine', 'virt,aia=aplic-imsic,memory-backend=ram0', '-m', '64M', '-bios', 'none', '-kernel', elf],
      ...['-object', 'memory-backend-memfd,id=ram0,size=64M,share=on', '-display', 'none', '-nodefaults'],
      ...(hasCprExec ? ['-machine', 'aux-ram-share=on'] : []),
      ...['-serial', 'stdio', '-qmp', `unix:${join(folder, 'qmp')},server=on,wait=off`],
      ...bdfs.flatMap((bdf, i) => ['-device', `vfio-pci,host=${bdf},addr=${i + 1}`]),
    ];
    const child = new Child({ name: 'QEMU', argv: programArgv('livevmm', 'with', '--host', host, '--', ...argv) });
    const machine = new QemuMachine(plan, child, argv);
    await child.whileAlive(machine.console.greeting);
    machine.#qmp = await QmpClient.connect(machine.#monitor);
    return machine;
  }

  /** QEMU replaces itself by execve (migration mode cpr-exec). */
  async update(): Promise<QemuUpdate> {
    const before = this.#pteWrites();
    const command = [...this.#argv, '-incoming', `file:${this.#state}`];
    await this.#qmp.execute('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': command });
    const gone = this.#qmp.nextEvent(() => false, 60_000).catch(() => monotonicNs());
    await this.#qmp.execute('migrate', { uri: `file:${this.#state}` });
    const execNs = (await gone) as number;
    this.#qmp = await vi.waitFor(() => QmpClient.connect(this.#monitor), { timeout: 60_000, interval: 10 });
    const monitorNs = monotonicNs();
    await vi.waitFor(
      async () => {
        const { status } = (await this.#qmp.execute('query-status')) as { status: string };
        if (status !== 'running') throw new Error(status);
      },
      { timeout: 60_000, interval: 10 },
    );
    return { execNs, monitorNs, pteWrites: this.#pteWrites() - before };
  }

  #pteWrites(): number {
    return this.host.ask({ op: 'info' }).units.reduce((sum, { pteWrites }) => sum + pteWrites, 0);
  }

  async stop(): Promise<void> {
    this.#qmp?.close();
    this.host.close();
    await this.child.stop();
  }
}
