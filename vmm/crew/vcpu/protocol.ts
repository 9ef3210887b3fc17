/**
 * The messages between main and the vCPU thread. Requests go by the words of
 * machine/control/control-block.ts instead.
 */
import type { DatagramDescription } from '../../../devices/backends/datagram-port.ts';
import type { ListenerDescription } from '../../../devices/backends/socket-stream.ts';
import type { DiskDescription } from '../../../devices/virtio/disk-file.ts';
import type { SharedPart } from '../../../platform/shared.ts';
import type { DeviceDescription } from '../../client/device.ts';
import type { Accel, RamPart } from '../../machine/hart-local/hart-local.ts';
import type { MachineState } from '../../machine/machine.ts';
import type { FwCfgPlan } from '../../machine/shared/fw-cfg-contents.ts';
import type { IcountPlan } from '../../machine/shared/icount.ts';
import type { RecordingDescription } from '../../machine/shared/replay/recording.ts';
import type { SemihostingPlan } from '../../machine/shared/semihosting.ts';
import type { VirtioUnit } from '../../machine/shared/virtio-devices.ts';
import type { Aia } from '../../machine/shared/wired-devices.ts';
import type { PeerBarParts } from '../../passthrough/peer-bars.ts';
import type { VmShared } from '../vm-shared.ts';
import type { Suspended } from './suspended.ts';

/** A virtio device inside the VMM. */
export type VirtioPart = Omit<VirtioUnit, 'kind'> & VirtioBackend;

type VirtioBackend =
  | { readonly kind: 'rng' }
  | { readonly kind: 'blk'; readonly disk: DiskDescription }
  | {
      readonly kind: 'net';
      /** 6 bytes. */
      readonly mac: Uint8Array;
      /** A datagram socket, or one of the machine's streams. */
      readonly wire: DatagramDescription | number;
    }
  /** `folder` counts those of the machine. */
  | { readonly kind: '9p'; readonly folder: number; readonly tag: string }
  /** `listener` counts those of the machine. */
  | { readonly kind: 'serial'; readonly listener: number };

/** All that a machine is built from, except its state. */
export interface MachineParts {
  readonly ram: RamPart;
  /** The address that the boot ROM jumps to. */
  readonly entry: number;
  readonly accel?: Accel;
  /** Time is counted by instructions. */
  readonly icount?: IcountPlan | undefined;
  /** The guest is recorded or replayed. */
  readonly recording?: RecordingDescription | undefined;
  /** The address that firmware goes on at; absent without firmware. */
  readonly next?: number | undefined;
  /** Which interrupt controllers the machine has; aplic-imsic if absent. */
  readonly aia?: Aia | undefined;
  /** Whether there is an APLIC before the IMSIC. */
  readonly aplic?: boolean;
  /** Whether the guest has an IOMMU of its own. */
  readonly iommu?: boolean;
  readonly virtio?: readonly VirtioPart[];
  /** Open folders that the guest reads by 9P. */
  readonly folders?: readonly number[];
  /** Where lines listen. */
  readonly listeners?: readonly ListenerDescription[];
  /** What fw_cfg has. */
  readonly fwCfg?: FwCfgPlan;
  /** Whether the guest may call the host, and how. */
  readonly semihosting?: SemihostingPlan | undefined;
  /** What the UART's line leads to: a listener, or nothing; main's terminal if absent. */
  readonly serial?: number | 'null';
  /** An epoll instance: the vCPU adds its sockets, the interrupt thread hears their news. */
  readonly news?: number;
  readonly devices: readonly DeviceDescription[];
  /** By device: the eventfd of its INTx, where the machine has wires. */
  readonly intx?: readonly (number | undefined)[];
  /** Present with devices. */
  readonly peerBars?: PeerBarParts;
}

/** The worker's data. */
export interface VcpuInput {
  readonly shared: VmShared;
  /**
   * The hart of the thread. That of OWNER_HART is the vCPU; another one runs its hart when the vCPU
   * lends it, and neither gets nor sends messages.
   */
  readonly hart: number;
  readonly parts: MachineParts;
  /**
   * Nobody else runs the machine in this process: the thread builds its vCPU, and rehearses with
   * another machine, before it says `ready`. So it loses no time when its state comes.
   */
  readonly ahead?: boolean;
  /** The thread's own task channel, which main has connected; absent without devices. */
  readonly channel?: VcpuChannel;
}

/** The thread's own way to the devices. */
export interface VcpuChannel {
  readonly socket: number;
  /** Its call page (iommu/abi/call-page.ts). */
  readonly callPage?: SharedPart;
  /** Its register pages, by device. Undefined: it asks the kernel for each access. */
  readonly registerPages: readonly (SharedPart | undefined)[];
  /** The pages where their MSIs are posted, by device. */
  readonly interruptPages: readonly (SharedPart | undefined)[];
}

/**
 * The state that the machine begins with. Main sends it to the vCPU thread once. At power-on it is
 * what the devices showed of themselves.
 */
export type InitialState = MachineState | Pick<MachineState, 'pci'>;

/**
 * The answer to a run. At atNs the vCPU was about to execute the first instruction under that
 * request.
 */
export interface Running {
  readonly kind: 'running';
  readonly request: number;
  readonly atNs: number;
}

/**
 * The answer to a stop. A vCPU that has stopped itself sends it too, with the number of the request
 * that it obeyed until then.
 */
export interface Stopped {
  readonly kind: 'stopped';
  readonly request: number;
  /** undefined: it lies in StoppedState. */
  readonly suspended: Suspended | undefined;
}

export type VcpuMessage =
  /** The thread waits for its initial state. */
  | { readonly kind: 'ready' }
  | Running
  | Stopped
  /**
   * The guest powered its machine off and has been stopped. `replayed`: as it was recorded, after
   * so many instructions.
   */
  | { readonly kind: 'poweroff'; readonly status: number; readonly replayed?: number }
  /**
   * The machine has been reset and has stopped: main must fill RAM. `request` is the request for
   * the reset; it is absent when the guest asked for it.
   */
  | { readonly kind: 'reset'; readonly request?: number }
  /** A replay has come to the end of its recording, before the guest has ended its machine. */
  | { readonly kind: 'replayed'; readonly instructions: number; readonly isCutOff: boolean }
  /** The state cannot be published (vmm/crew/publisher.ts). The guest runs on. */
  | { readonly kind: 'unpublished'; readonly reason: string }
  /** There is room for console input. */
  | { readonly kind: 'input-room' }
  /** The guest cannot run on. */
  | { readonly kind: 'failed'; readonly reason: string };
