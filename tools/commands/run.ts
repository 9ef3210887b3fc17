/**
 * `livevmm run`: a VMM on the board of a running host, or, without --host, on a private one. With
 * --host this process *becomes* the VMM (execve); without, it is the host and the VMM its child.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { type Board, type BoardOptions, startHost } from '../../devices/board/host.ts';
import { PROFILE_NAMES } from '../../iommu/kernel/core/profile.ts';
import { setCloexec } from '../../platform/libc/fd.ts';
import { execve } from '../../platform/libc/this-process.ts';
import { asTwoDashes } from '../../platform/one-dash.ts';
import { type Command, CommandError, oneOf, parseOptions, UsageError } from '../cli/command.ts';
import { parseDeviceOption, passthroughBdf } from '../cli/device-option.ts';
import { unitsOf } from '../cli/iommu-option.ts';
import { exitStatus, onEndingSignal } from '../cli/signals.ts';
import { Child } from '../launch/child.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { defaultQmpSocket } from '../launch/sockets.ts';
import { type VmmPlan, vmmArgv } from '../launch/vmm.ts';
import { DEFAULT_PROFILE } from './host.ts';

const HELP = `Usage: livevmm run [--host SOCKET] [-m SIZE] --kernel FILE [--device DEVICE]... [--qmp PATH]

Runs a guest. Its console is this terminal; its exit status is this command's. Long options may have one dash, as in QEMU.

  --kernel FILE                 the guest: an ELF64 RISC-V executable, see guest/programs, or Linux's Image, also in gzip
  --initrd FILE                 initial RAM disk
  --append TEXT                 the kernel's command line
  --bios FILE|default|none      firmware: an ELF, or bytes for the beginning of RAM (OpenSBI's fw_dynamic or fw_jump); default: our own
                                SBI; without this option: none for an ELF that begins where RAM does, else default
  --machine virt[,aia=KIND]     interrupt controllers: none (a PLIC), or aplic-imsic; without this option: none with firmware
  -m SIZE                       guest memory, e.g. 64M or 1G (default 128M)
  --accel golden|jit            what executes the guest: the interpreter (default), or translations of hot code to WebAssembly
  --qmp PATH                    monitor socket (default: in $XDG_RUNTIME_DIR/livevmm)

On the board of a running host:
  --host SOCKET                 where 'livevmm host' listens
  --device vfio-pci,host=BDF    pass this PCI device of the host through; may be repeated

Without --host this process becomes a private host that ends with the guest, and on which memory is locked without a limit:
  --device edu[,key=value]...   a device of the private board, passed through; types as in 'livevmm host --help'
  --iommu NAME[,key=value]...   an IOMMU of the private board, as in 'livevmm host --help'
  --vfio-profile VERSION        which kernel's VFIO it answers as
`;

/** Options that go to the VMM as they are. */
const GUEST_OPTIONS = {
  accel: { type: 'string' },
  machine: { type: 'string', short: 'M' },
  bios: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
} as const;
const GUEST_OPTION_NAMES = Object.keys(GUEST_OPTIONS) as (keyof typeof GUEST_OPTIONS)[];
const LONG = [...GUEST_OPTION_NAMES, 'host', 'kernel', 'device', 'iommu', 'qmp'];

/** Turns this process into the VMM. Its own fds close (FD_CLOEXEC); the terminal stays open. */
function becomeVmm(argv: readonly string[]): never {
  for (const fd of [0, 1, 2]) setCloexec(fd, false);
  return execve(argv[0]!, argv, process.env);
}

async function runChild(argv: readonly string[]): Promise<number> {
  const terminal = { stdio: ['inherit', 'inherit', 'inherit'], detached: false } as const;
  const child = new Child({ name: 'the VMM', argv, ...terminal, lifeline: true });
  // A terminal sends its SIGINT to the child as well as to us. A signal from elsewhere reaches us
  // only.
  const stop = onEndingSignal((signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
  const { status, signal, error } = await child.exited;
  stop();
  if (error) throw error;
  return exitStatus(status, signal);
}

async function runOnPrivateHost(
  machine: Pick<BoardOptions, 'devices' | 'units' | 'profile'>,
  options: VmmPlan,
): Promise<number> {
  const folder = new PrivateFolder();
  const socketPath = join(folder.path, 'host.sock');
  let board: Board | undefined;
  try {
    board = await startHost({ ...machine, socketPath, memlock: 'unlimited' });
    const bdfs = board.info().devices.map(({ bdf }) => bdf);
    return await runChild(vmmArgv({ ...options, host: socketPath, bdfs }));
  } finally {
    await board?.stop();
    await folder.remove();
  }
}

export const run: Command = {
  summary: 'run a guest, on a host or with a private one',
  help: HELP,
  async run(words) {
    const options = parseOptions(asTwoDashes(words, LONG), {
      host: { type: 'string' },
      memory: { type: 'string', short: 'm', default: '128M' },
      kernel: { type: 'string' },
      ...GUEST_OPTIONS,
      device: { type: 'string', multiple: true, default: [] },
      iommu: { type: 'string', multiple: true, default: [] },
      qmp: { type: 'string' },
      'vfio-profile': { type: 'string', default: DEFAULT_PROFILE },
    });
    if (options.kernel === undefined) throw new UsageError('run: give --kernel FILE');
    if (!existsSync(options.kernel)) throw new CommandError(`${options.kernel}: no such file`);
    const devices = options.device.map(parseDeviceOption);
    const qmp = options.qmp ?? defaultQmpSocket();
    const guest = GUEST_OPTION_NAMES.flatMap((name) =>
      options[name] === undefined ? [] : [`--${name}=${options[name]}`],
    );
    const vmm: VmmPlan = { memory: options.memory, kernel: options.kernel, options: guest, qmp };
    if (options.host === undefined) {
      if (devices.some(({ type }) => type === 'vfio-pci'))
        throw new UsageError('run: vfio-pci devices need --host SOCKET');
      const profile = oneOf('vfio-profile', options['vfio-profile'], PROFILE_NAMES);
      return runOnPrivateHost({ devices, profile, ...unitsOf(options.iommu) }, vmm);
    }
    if (options.iommu.length > 0) throw new UsageError('run: --iommu is for the private board');
    const other = devices.find(({ type }) => type !== 'vfio-pci');
    if (other)
      throw new UsageError(`run: '${other.type}' is a device of the host; pass it through as vfio-pci,host=BDF`);
    return becomeVmm(vmmArgv({ ...vmm, host: resolve(options.host), bdfs: devices.map(passthroughBdf) }));
  },
};
