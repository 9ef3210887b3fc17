/** The part of the VM as a whole that survives an update: its options and its run state. */
import { fd } from '../../platform/fd-shape.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { flag, integer, list, object, oneOf, type Shaped, text } from '../../platform/shape.ts';
import { ACCELS } from '../machine/hart-local/hart-local.ts';
import { AIA_KINDS } from '../machine/shared/wired-devices.ts';

/** The command line. */
const VM_OPTIONS = object(
  {
    /** Bytes of guest RAM. */
    memory: integer,
    /** Passed-through devices, in the order of their slots. */
    devices: list(text),
  },
  {
    /** What executes the guest; absent: this build's default. */
    accel: oneOf(...ACCELS),
    /** Value of -icount; absent: guest time follows real time. */
    icount: text,
    /** Path of the guest's kernel: ELF, or Image of Linux. Absent: the firmware is the guest. */
    kernel: text,
    /** Firmware: a path, `default` or `none`; guest-image.ts says what an absent one means. */
    bios: text,
    /** Path of the initial RAM disk. */
    initrd: text,
    /** The kernel's command line. */
    append: text,
    /** Number of harts; absent: one. */
    harts: integer,
    /** Which interrupt controllers the machine has. Power-on writes down what it has chosen. */
    aia: oneOf(...AIA_KINDS),
    /**
     * There is an APLIC before the IMSIC: `aia=aplic-imsic` was asked for. Absent in states of
     * builds that had none, and where aplic-imsic is only what power-on has chosen.
     */
    aplic: oneOf('on'),
    /** The guest has an IOMMU of its own. */
    iommuSys: oneOf('on'),
    /** Devices inside the VMM, and files for them: values of -device virtio-… and -drive. */
    virtio: list(text),
    drives: list(text),
    /** Value of -serial, and values of -chardev. */
    serial: text,
    chardevs: list(text),
    /** Values of -netdev. */
    netdevs: list(text),
    /** Values of -fsdev. */
    fsdevs: list(text),
    /** Values of -fw_cfg. */
    fwCfg: list(text),
    /** Value of -semihosting-config; absent: the guest may not call the host. */
    semihosting: text,
    /** UNIX socket of the host; absent without devices. */
    host: text,
    /**
     * The guest's name in memory that outlives the host's kernel (pkernfs): its RAM and the page
     * tables of its devices are there.
     */
    pkernfs: text,
    /** Its container's mappings are there, too: nothing is mapped again after a kexec. */
    persist: oneOf('container'),
    /** Devices reach the registers of each other by DMA, too; absent: memory only. */
    peerBars: oneOf('all'),
    /** Path of the monitor's socket. */
    qmp: text,
    /** A fd that ends with the process that started the VMM. The VMM ends with it. */
    lifeline: fd,
    /** The guest waits for `cont` after power-on (-S). */
    stopped: oneOf('on'),
    /** A reset ends the VM (-no-reboot). */
    noReboot: oneOf('on'),
    /** A guardian stands by all the time; absent: only while an update is under way. */
    guardian: oneOf('always'),
    /**
     * A defect to show that a check finds it. After an update the guest gets fresh memory instead
     * of its own; after a kexec its memory is mapped without VFIO_DMA_MAP_FLAG_LIVE_UPDATE.
     */
    inject: oneOf('wrong-memfd', 'without-live-update-flag'),
  },
);

export type VmOptions = Shaped<typeof VM_OPTIONS>;

export const hartsOf = ({ harts = 1 }: VmOptions): number => harts;

/** Whether devices have wires to an interrupt controller: a PLIC, or an APLIC. */
export const isWired = ({ aia, aplic }: VmOptions): boolean => aia === 'none' || aplic === 'on';

export const VM_SECTION = defineSection(
  'vm',
  1,
  {
    options: VM_OPTIONS,
    /** The address that the boot ROM jumps to. */
    entry: integer,
    /** Number of images that ran this guest before. */
    generation: integer,
    paused: flag,
  },
  {
    /** The address that firmware goes on at; absent without firmware. */
    next: integer,
  },
);

export type VmState = StateOf<typeof VM_SECTION>;
