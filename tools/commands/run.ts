/**
 * `livevmm run`: a VMM on the board of a running host, or, without --host, on a private one. With
 * --host this process *becomes* the VMM (execve); without, the VMM is its child, and this process
 * is the host if the guest has devices.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type EarlyThreads, endEarly } from '../../devices/board/early-threads.ts';
import type { Board, BoardOptions } from '../../devices/board/host.ts';
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../../iommu/kernel/core/profile.ts';
import { setCloexec } from '../../platform/libc/fd.ts';
import { execve } from '../../platform/libc/this-process.ts';
import { nodeEnv } from '../../platform/node-env.ts';
import { asTwoDashes } from '../../platform/one-dash.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
import { type Command, CommandError, oneOf, parseOptions, UsageError } from '../cli/command.ts';
import { parseDeviceOption, passthroughBdf } from '../cli/device-option.ts';
import { unitsOf } from '../cli/iommu-option.ts';
import { exitStatus, onEndingSignal } from '../cli/signals.ts';
import type { AwaitingVmm } from '../launch/awaiting-vmm.ts';
import type { Child } from '../launch/child.ts';
import { pkernfsBytesFor } from '../launch/persistent-memory.ts';
import { defaultQmpSocket } from '../launch/sockets.ts';
import { type VmmPlan, vmmArgv, vmmWords } from '../launch/vmm.ts';

const HELP = `Usage: livevmm run [--host SOCKET] [-m SIZE] --kernel FILE|--bios FILE [--device DEVICE]... [--qmp PATH]

Runs a guest. Its console is this terminal; its exit status is this command's. Long options may have one dash, as in QEMU.

  --kernel FILE                 the guest: an ELF64 RISC-V executable, see guest/programs, or Linux's Image, also in gzip
  --initrd FILE                 initial RAM disk
  --append TEXT                 the kernel's command line
  --bios FILE|default|none      firmware: an ELF, or bytes for the beginning of RAM (OpenSBI's fw_dynamic); default: our own
                                SBI; without this option: none for an ELF that begins where RAM does, else default; a FILE
                                needs no kernel
  --machine virt[,aia=KIND][,iommu-sys=on]   interrupt controllers: none (a PLIC), or aplic-imsic; without this option: none
                                with firmware, else an IMSIC without APLIC. iommu-sys=on: a RISC-V IOMMU of the guest's own
  --device virtio-KIND-TRANSPORT[,key=value]...   a device inside the VMM: KIND blk (drive=ID, serial=, share-rw=on), net (netdev=ID, mac=),
                                9p (fsdev=ID, mount_tag=), rng or serial, TRANSPORT pci or device (MMIO); iommu_platform=on: behind the guest's IOMMU;
                                vectors=N: of MSI-X on PCI
  --device virtconsole,chardev=ID   the console of a virtio-serial device
  --drive file=PATH[,key=value]...   a raw disk: if=virtio (default; a PCI device of its own) or none, id=, cache=writeback|writethrough|
                                none|directsync|unsafe, readonly=on|off, file.locking=auto|on|off
  --netdev dgram,id=ID,local.type=unix,local.path=PATH,remote.type=unix,remote.path=PATH   a wire to another VMM or QEMU:
                                each frame is a datagram between these sockets
  --netdev stream,id=ID,addr.type=unix,addr.path=PATH[,server=on][,reconnect=SECONDS]   the same by a connection
  --virtfs local,path=FOLDER,mount_tag=TAG,security_model=none,readonly=on   a folder that the guest reads by 9P; as QEMU, also
                                --fsdev local,id=ID,path=FOLDER,… with --device virtio-9p-TRANSPORT,fsdev=ID,mount_tag=TAG
  --chardev socket,id=ID,path=PATH,server=on,wait=off   a line to whoever connects to this UNIX socket
  --chardev socket,id=ID,path=PATH[,reconnect=SECONDS]   a line to the server there; it is connected to once, or again and again
  --serial stdio|null|unix:PATH,server=on,wait=off|chardev:ID   where the UART's line leads (default: this terminal)
  --fw_cfg [name=]NAME,file=PATH|string=TEXT   a file for the guest's firmware, opt/NAME by custom
  --semihosting                 the guest may open files of yours, print and end by semihosting calls; it has your rights
  --semihosting-config [enable=on|off][,target=native|auto][,userspace=on|off][,arg=WORD]...   the same with more say
  -m SIZE                       guest memory, e.g. 64M or 1G (default 128M)
  --smp [cpus=]N                number of harts, 1 to 8 (default 1)
  --accel golden|jit            what executes the guest: the interpreter, or translations of hot code to WebAssembly (default)
  --icount shift=N[,sleep=on|off]   guest time counts instructions of 2^N ns each, so a run can be repeated exactly; sleep=off:
                                while the guest waits, time jumps to its next timer; on (default): it passes as real time does
  --icount shift=N,rr=record|replay,rrfile=FILE   write down what comes to the guest from outside, or give it the same again
  --pkernfs NAME                guest memory, under this name, and page tables outlive the host's kernel: for 'livevmm kexec'
  --persist tables|container    with --pkernfs: what outlives the kernel; container: no MAP_DMA is made again (default tables)
  --peer-bars memory|all        which BARs of each other passed-through devices reach by DMA: of memory (default), or of registers, too
  -S                            the guest waits for 'cont' from the monitor
  --no-reboot                   a reset by the guest, or 'system_reset', ends it
  --qmp PATH                    monitor socket (default: in $XDG_RUNTIME_DIR/livevmm)
  --guardian always|update      when a second process stands by that takes the guest over if this one dies: while an update is under
                                way (default), or always. That makes the guest slower: its state is published all the time

On the board of a running host:
  --host SOCKET                 where 'livevmm host' listens
  --device vfio-pci,host=BDF    pass this PCI device of the host through; may be repeated

Without --host this process becomes a private host that ends with the guest, and on which memory is locked without a limit:
  --device edu[,key=value]...   a device of the private board, passed through; types as in 'livevmm host --help', without virtio
  --iommu NAME[,key=value]...   an IOMMU of the private board, as in 'livevmm host --help'
  --vfio-profile VERSION        which kernel's VFIO it answers as
`;

/** Options that go to the VMM as they are. */
const GUEST_OPTIONS = {
  accel: { type: 'string' },
  icount: { type: 'string' },
  machine: { type: 'string', short: 'M' },
  smp: { type: 'string' },
  bios: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  serial: { type: 'string' },
  'semihosting-config': { type: 'string' },
  guardian: { type: 'string' },
  pkernfs: { type: 'string' },
  persist: { type: 'string' },
  'peer-bars': { type: 'string' },
} as const;
const GUEST_OPTION_NAMES = Object.keys(GUEST_OPTIONS) as (keyof typeof GUEST_OPTIONS)[];
const LONG = [
  ...GUEST_OPTION_NAMES,
  'fw_cfg',
  'drive',
  'netdev',
  'fsdev',
  'virtfs',
  'chardev',
  'host',
  'kernel',
  'device',
  'iommu',
  'qmp',
  'display',
];
const FLAGS = ['semihosting', 'no-reboot', 'nographic'];

/** Turns this process into the VMM. Its own fds close (FD_CLOEXEC); the terminal stays open. */
function becomeVmm(argv: readonly string[]): never {
  for (const fd of [0, 1, 2]) setCloexec(fd, false);
  return execve(argv[0]!, argv, nodeEnv());
}

const TERMINAL = { stdio: ['inherit', 'inherit', 'inherit'], detached: false } as const;

type Vmm = Pick<Child, 'kill' | 'exited'>;

/** What was started before the words were read. */
interface Started {
  readonly awaiting?: AwaitingVmm | undefined;
  /** Threads of a private board. */
  readonly early: EarlyThreads | undefined;
}

/** Starts a VMM, unless one waits already. */
async function startVmm(plan: VmmPlan, awaiting: AwaitingVmm | undefined): Promise<Vmm> {
  if (awaiting) return awaiting.begin(vmmWords(plan));
  const { Child } = await import('../launch/child.ts');
  return new Child({ name: 'the VMM', argv: vmmArgv(plan), ...TERMINAL, lifeline: true, env: nodeEnv() });
}

/** Resolves with the VMM's exit status. */
async function follow(child: Vmm): Promise<number> {
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
  machine: Pick<BoardOptions, 'devices' | 'units' | 'profile' | 'pkernfsBytes'>,
  options: VmmPlan,
  { awaiting, early }: Started,
): Promise<number> {
  const { powerOnHost } = await import('../../devices/board/host.ts');
  const board = await powerOnHost({ ...machine, memlock: 'unlimited' }, early);
  try {
    return await runOnBoard(board, options, awaiting);
  } finally {
    await board.stop();
  }
}

/**
 * Boots the board's kernel and runs a VMM that has all its devices. The board is over afterwards.
 */
async function runOnBoard(board: Board, options: VmmPlan, awaiting: AwaitingVmm | undefined): Promise<number> {
  const { PrivateFolder } = await import('../launch/private-folder.ts');
  const folder = new PrivateFolder();
  try {
    const socketPath = join(folder.path, 'host.sock');
    // The VMM starts while the board does. It can connect, and waits for the kernel's first answer.
    const listener = listenUnix(socketPath);
    const bdfs = board.info().devices.map(({ bdf }) => bdf);
    const child = await startVmm({ ...options, host: socketPath, bdfs }, awaiting);
    const ended = follow(child);
    try {
      await board.boot({ socketPath, listener });
    } catch (error) {
      child.kill('SIGKILL'); // before it tells that its host is gone
      await child.exited;
      throw error;
    }
    try {
      return await ended;
    } finally {
      await board.stop(); // its socket goes before the folder
    }
  } finally {
    await folder.remove();
  }
}

async function start(words: readonly string[], started: Started): Promise<number> {
  const { awaiting } = started;
  const options = parseOptions(asTwoDashes(words, LONG, FLAGS), {
    host: { type: 'string' },
    memory: { type: 'string', short: 'm', default: '128M' },
    kernel: { type: 'string' },
    ...GUEST_OPTIONS,
    drive: { type: 'string', multiple: true, default: [] },
    netdev: { type: 'string', multiple: true, default: [] },
    fsdev: { type: 'string', multiple: true, default: [] },
    virtfs: { type: 'string', multiple: true, default: [] },
    chardev: { type: 'string', multiple: true, default: [] },
    fw_cfg: { type: 'string', multiple: true, default: [] },
    semihosting: { type: 'boolean', default: false },
    stopped: { type: 'boolean', short: 'S', default: false },
    'no-reboot': { type: 'boolean', default: false },
    nographic: { type: 'boolean', default: false },
    display: { type: 'string', default: 'none' },
    device: { type: 'string', multiple: true, default: [] },
    iommu: { type: 'string', multiple: true, default: [] },
    qmp: { type: 'string' },
    'vfio-profile': { type: 'string', default: DEFAULT_PROFILE },
  });
  oneOf('display', options.display, ['none']); // the guest has no display, also without -nographic
  const { kernel, bios = 'default' } = options;
  if (kernel === undefined && ['default', 'none'].includes(bios))
    throw new UsageError('run: give --kernel FILE, or --bios FILE');
  if (kernel !== undefined && !existsSync(kernel)) throw new CommandError(`${kernel}: no such file`);
  const virtio = options.device.filter((device) => /^virt(io-|console)/.test(device));
  const devices = options.device.filter((device) => !virtio.includes(device)).map(parseDeviceOption);
  const qmp = options.qmp ?? defaultQmpSocket();
  const guest = GUEST_OPTION_NAMES.flatMap((name) =>
    options[name] === undefined ? [] : [`--${name}=${options[name]}`],
  );
  guest.push(
    ...(options.semihosting ? ['--semihosting'] : []),
    ...(options.stopped ? ['-S'] : []),
    ...(options['no-reboot'] ? ['--no-reboot'] : []),
    ...virtio.map((device) => `--device=${device}`),
    ...options.drive.map((drive) => `--drive=${drive}`),
    ...options.netdev.map((netdev) => `--netdev=${netdev}`),
    ...options.fsdev.map((fsdev) => `--fsdev=${fsdev}`),
    ...options.virtfs.map((virtfs) => `--virtfs=${virtfs}`),
    ...options.fw_cfg.map((file) => `--fw_cfg=${file}`),
    ...options.chardev.map((chardev) => `--chardev=${chardev}`),
  );
  const vmm: VmmPlan = { memory: options.memory, kernel, options: guest, qmp };
  if (options.host === undefined) {
    if (devices.some(({ type }) => type === 'vfio-pci'))
      throw new UsageError('run: vfio-pci devices need --host SOCKET');
    const profile = oneOf('vfio-profile', options['vfio-profile'], PROFILE_NAMES);
    const pkernfsBytes = options.pkernfs === undefined ? undefined : pkernfsBytesFor(options.memory);
    if (devices.length === 0 && options.iommu.length === 0) {
      if (started.early) endEarly(started.early); // a word only looked like a device's
      return follow(await startVmm(vmm, awaiting));
    }
    return runOnPrivateHost({ devices, profile, pkernfsBytes, ...unitsOf(options.iommu) }, vmm, started);
  }
  if (options.iommu.length > 0) throw new UsageError('run: --iommu is for the private board');
  const other = devices.find(({ type }) => type !== 'vfio-pci');
  if (other) throw new UsageError(`run: '${other.type}' is a device of the host; pass it through as vfio-pci,host=BDF`);
  awaiting?.dismiss();
  return becomeVmm(vmmArgv({ ...vmm, host: resolve(options.host), bdfs: devices.map(passthroughBdf) }));
}

/** The first words of the launcher (launcher.sh), if it has started a VMM. */
const AWAITING = '--awaiting';

export const run: Command = {
  help: HELP,
  async run(words, early) {
    if (words[0] !== AWAITING) return start(words, { early });
    const { AwaitingVmm } = await import('../launch/awaiting-vmm.ts');
    const awaiting = AwaitingVmm.of(words[1]);
    if (!awaiting) return start(words, { early }); // which knows no such option
    try {
      return await start(words.slice(2), { awaiting, early });
    } finally {
      awaiting.dismiss();
    }
  },
};
