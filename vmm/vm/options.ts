/** The VMM's command line. It survives updates: the new image gets it with the state. */
import { parseArgs } from 'node:util';
import { splitVirtfs } from '../../devices/backends/fsdev-option.ts';
import { einval } from '../../platform/errno.ts';
import { MAX_MAPPING } from '../../platform/memory.ts';
import { asTwoDashes } from '../../platform/one-dash.ts';
import { ACCELS, type Accel, canTranslate } from '../machine/hart-local/hart-local.ts';
import { MAX_HARTS } from '../machine/hart-local/hart-number.ts';
import { parseFwCfg } from './fw-cfg-option.ts';
import { planIcount, planRecording } from './icount-option.ts';
import { parseMachine } from './machine-option.ts';
import { planSemihosting, SEMIHOSTING_ON } from './semihosting-option.ts';
import { planSerial } from './serial-option.ts';
import { isVirtio, planVirtio } from './virtio-options.ts';
import type { VmOptions } from './vm-state.ts';

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
/** The device tree lies in the last 2 MiB block below the top. */
const LEAST_MEMORY = 4 * 2 ** 20;
const MEMORY_STEP = 2 ** 16;

/** Parses the command line. EINVAL with one line for the user. */
export function parseOptions(args: readonly string[]): VmOptions {
  const { values } = parse(args);
  if (values.kernel === undefined && !isFile(values.bios)) throw einval('give --kernel FILE, or --bios FILE');
  if (values.kernel === undefined && values.initrd !== undefined) throw einval('--initrd goes with --kernel');
  const virtfs = values.virtfs.map(splitVirtfs);
  const virtio = [...values.device.filter(isVirtio), ...virtfs.map(({ device }) => device)];
  const fsdevs = [...values.fsdev, ...virtfs.map(({ fsdev }) => fsdev)];
  const devices = values.device.filter((device) => !isVirtio(device)).map(passthroughBdf);
  const { drive: drives, netdev: netdevs, chardev: chardevs } = values;
  const serial = values.serial === undefined ? {} : { serial: values.serial };
  planVirtio({ virtio, drives, netdevs, fsdevs, chardevs, ...serial });
  if (devices.length > 0 && values.host === undefined) throw einval('vfio-pci devices need --host SOCKET');
  if (new Set(devices).size < devices.length) throw einval('a device is given twice');
  const memory = memorySize(values.memory);
  const machine = parseMachine(values.machine);
  if (machine.iommuSys && devices.length > 0) {
    throw einval("iommu-sys=on: passed-through devices cannot be behind the guest's own IOMMU");
  }
  const harts = hartsIn(values.smp);
  const inject = INJECTIONS.find((known) => known === values.inject);
  if (values.inject !== inject) throw einval(`--inject ${values.inject}: unknown`);
  const { pkernfs } = values;
  if (pkernfs !== undefined && !/^[\w.-]{1,32}$/.test(pkernfs)) throw einval(`--pkernfs ${pkernfs}: no name of a file`);
  const { persist } = values;
  if (persist !== 'tables' && persist !== 'container') throw einval(`--persist ${persist}: give tables or container`);
  const peerBars = values['peer-bars'];
  if (peerBars !== 'memory' && peerBars !== 'all') throw einval(`--peer-bars ${peerBars}: give memory or all`);
  if (pkernfs !== undefined && devices.length === 0) throw einval('--pkernfs: only for a guest with vfio-pci devices');
  if (
    pkernfs !== undefined &&
    drives.length + netdevs.length + fsdevs.length + planSerial({ chardevs, ...serial }).chardevs.length > 0
  ) {
    throw einval('--pkernfs: what -drive, -netdev, -fsdev, -chardev and -serial have open does not outlive the kernel');
  }
  const { kernel, append, icount } = values;
  planIcount({ icount });
  if (devices.length > 0 && planRecording({ icount })) {
    throw einval('-icount rr=: what passed-through devices do cannot be recorded: leave vfio-pci devices out');
  }
  const semihosting = values['semihosting-config'] ?? (values.semihosting ? SEMIHOSTING_ON : undefined);
  const calls = planSemihosting({
    ...(kernel === undefined ? {} : { kernel }),
    ...(append === undefined ? {} : { append }),
    ...(semihosting === undefined ? {} : { semihosting }),
  });
  if (pkernfs !== undefined && calls)
    throw einval('--pkernfs: files that semihosting has open do not outlive the kernel');
  const { fw_cfg: fwCfg } = values;
  parseFwCfg(fwCfg);
  const { guardian } = values;
  if (guardian !== 'always' && guardian !== 'update') throw einval(`--guardian ${guardian}: give always or update`);
  return {
    memory,
    ...(kernel === undefined ? {} : { kernel }),
    devices,
    ...(values.accel === undefined ? {} : { accel: accelOf(values.accel, memory, harts) }),
    ...(icount === undefined ? {} : { icount }),
    ...(harts === 1 ? {} : { harts }),
    ...machine,
    ...(virtio.length > 0 ? { virtio } : {}),
    ...(drives.length > 0 ? { drives } : {}),
    ...(netdevs.length > 0 ? { netdevs } : {}),
    ...(fsdevs.length > 0 ? { fsdevs } : {}),
    ...(chardevs.length > 0 ? { chardevs } : {}),
    ...serial,
    ...(calls && semihosting !== undefined ? { semihosting } : {}),
    ...(fwCfg.length > 0 ? { fwCfg } : {}),
    ...(values.bios === undefined ? {} : { bios: values.bios }),
    ...(values.initrd === undefined ? {} : { initrd: values.initrd }),
    ...(append === undefined ? {} : { append }),
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.qmp === undefined ? {} : { qmp: values.qmp }),
    ...(values.lifeline === undefined ? {} : { lifeline: fdNumber(values.lifeline) }),
    ...(values.stopped ? { stopped: 'on' } : {}),
    ...(values['no-reboot'] ? { noReboot: 'on' } : {}),
    ...(guardian === 'always' ? { guardian } : {}),
    ...(pkernfs === undefined ? {} : { pkernfs }),
    ...(persist === 'container' ? { persist } : {}),
    ...(peerBars === 'all' ? { peerBars } : {}),
    ...(inject === undefined ? {} : { inject }),
  };
}

const INJECTIONS = ['wrong-memfd', 'without-live-update-flag'] as const;

/** Firmware that needs no kernel behind it. */
const isFile = (bios: string | undefined): boolean => bios !== undefined && bios !== 'default' && bios !== 'none';

/** QEMU's users write its long options with one dash. */
const QEMU_LONG = [
  'machine',
  'smp',
  'icount',
  'bios',
  'kernel',
  'initrd',
  'append',
  'drive',
  'netdev',
  'fsdev',
  'virtfs',
  'chardev',
  'serial',
  'semihosting-config',
  'fw_cfg',
  'device',
  'qmp',
];

/** Those without a value. */
const QEMU_FLAGS = ['semihosting', 'no-reboot'];

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: asTwoDashes(args, QEMU_LONG, QEMU_FLAGS),
      options: {
        host: { type: 'string' },
        memory: { type: 'string', short: 'm', default: '128M' },
        machine: { type: 'string', short: 'M' },
        smp: { type: 'string', default: '1' },
        bios: { type: 'string' },
        kernel: { type: 'string' },
        accel: { type: 'string' },
        icount: { type: 'string' },
        initrd: { type: 'string' },
        append: { type: 'string' },
        drive: { type: 'string', multiple: true, default: [] },
        netdev: { type: 'string', multiple: true, default: [] },
        fsdev: { type: 'string', multiple: true, default: [] },
        virtfs: { type: 'string', multiple: true, default: [] },
        chardev: { type: 'string', multiple: true, default: [] },
        serial: { type: 'string' },
        fw_cfg: { type: 'string', multiple: true, default: [] },
        semihosting: { type: 'boolean', default: false },
        stopped: { type: 'boolean', short: 'S', default: false },
        'no-reboot': { type: 'boolean', default: false },
        'semihosting-config': { type: 'string' },
        device: { type: 'string', multiple: true, default: [] },
        qmp: { type: 'string' },
        pkernfs: { type: 'string' },
        persist: { type: 'string', default: 'tables' },
        'peer-bars': { type: 'string', default: 'memory' },
        lifeline: { type: 'string' },
        guardian: { type: 'string', default: 'update' },
        inject: { type: 'string' },
      },
    });
  } catch (error) {
    throw einval((error as Error).message);
  }
}

function memorySize(text: string): number {
  const match = /^(\d+)([KMG])?$/i.exec(text);
  const size = match ? Number(match[1]) * UNITS[(match[2] ?? 'M').toUpperCase()]! : Number.NaN;
  if (!(size >= LEAST_MEMORY && size <= MAX_MAPPING && size % MEMORY_STEP === 0)) {
    throw einval(`-m ${text}: give a size from 4M to 4G, e.g. 64M`);
  }
  return size;
}

/** `N` or `cpus=N`; there are no sockets and threads to divide them into. */
function hartsIn(text: string): number {
  const match = /^(?:cpus=)?(\d{1,3})$/.exec(text);
  const harts = match ? Number(match[1]) : 0;
  if (harts < 1 || harts > MAX_HARTS) throw einval(`-smp ${text}: give the number of harts, 1 to ${MAX_HARTS}`);
  return harts;
}

function accelOf(text: string, memory: number, harts: number): Accel {
  const accel = ACCELS.find((each) => each === text);
  if (!accel) throw einval(`--accel ${text}: give ${ACCELS.join(' or ')}`);
  if (accel === 'jit' && !canTranslate(memory, harts)) throw einval('--accel jit: guest RAM must be less than 4G');
  return accel;
}

function fdNumber(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw einval(`--lifeline ${text}: give the number of a file descriptor`);
  return Number(text);
}

/** The BDF in `vfio-pci,host=BDF`. */
function passthroughBdf(device: string): string {
  const match = /^vfio-pci,host=([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/.exec(device);
  if (!match) throw einval(`--device ${device}: give vfio-pci,host=BDF, e.g. vfio-pci,host=0000:00:02.0`);
  return match[1]!;
}
