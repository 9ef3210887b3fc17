/** QEMU's command line: the riscv `virt` machine, with devices of a host passed through. */
import { spawnSync } from 'node:child_process';

/** The command of QEMU, in words; another one than that on the PATH by LIVEVMM_QEMU_RISCV64. */
export const QEMU = (process.env.LIVEVMM_QEMU_RISCV64 ?? 'qemu-system-riscv64').split(' ');

/** `11.1.3`; undefined where there is no QEMU. */
export const qemuVersion = (): string | undefined =>
  / version ([\d.]+)/.exec(
    spawnSync(QEMU[0]!, [...QEMU.slice(1), '--version'], { encoding: 'utf8' }).stdout ?? '',
  )?.[1];

/** cpr-exec came with 10.2. */
export const hasCprExec = (version: string | undefined): boolean =>
  version !== undefined && Number.parseFloat(version) >= 10.2;

export interface QemuPlan {
  /** Devices of the host, in the order of the guest's slots. */
  readonly bdfs: readonly string[];
  /** The guest. */
  readonly elf: string;
  /** Whether it shall replace itself (hasCprExec). */
  readonly updatable: boolean;
  /** QEMU's own words for its monitor: the value of -qmp. */
  readonly monitor: string;
}

export const qemuArgv = ({ bdfs, elf, monitor, updatable }: QemuPlan): string[] => [
  ...QEMU,
  ...['-machine', 'virt,aia=aplic-imsic,memory-backend=ram0', '-m', '64M', '-bios', 'none', '-kernel', elf],
  ...['-object', 'memory-backend-memfd,id=ram0,size=64M,share=on', '-display', 'none', '-nodefaults'],
  ...(updatable ? ['-machine', 'aux-ram-share=on'] : []),
  ...['-serial', 'stdio', '-qmp', monitor],
  ...bdfs.flatMap((bdf, i) => ['-device', `vfio-pci,host=${bdf},addr=${i + 1}`]),
];
