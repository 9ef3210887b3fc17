/** The image that is being resumed. */
import { MainSlices } from '../crew/main-slices.ts';
import type { HartSections, MachineState } from '../machine/machine.ts';
import type { SharedState } from '../machine/shared/shared-machine.ts';
import type { MonitorState } from '../monitor/state.ts';
import type { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { assemble } from '../vm/assemble.ts';
import type { GuestRam } from '../vm/guest-ram.ts';
import type { Backends } from '../vm/virtio-parts.ts';
import type { Vm } from '../vm/vm.ts';
import type { VmOptions, VmState } from '../vm/vm-state.ts';
import type { UpdateState } from './update-state.ts';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Makes the options of this process of those that the guest came with. EINVAL: they do not fit. */
export type Adapt = (options: VmOptions) => VmOptions;

interface NewImageOptions {
  /** MAP_DMA flags with which RAM is mapped in a container that is new, too: after a kexec. */
  readonly mapFlags?: number | undefined;
  readonly vm?: Vm;
  readonly rollback?: boolean;
  /** The kernel gets the new vaddrs only when the guest runs. */
  readonly remapsLate?: boolean;
  readonly adapt?: Adapt | undefined;
}

/**
 * Each survivor finds here what the survivors before it in the list have put, and adds its own
 * part.
 */
export class NewImage {
  update!: UpdateState;
  state!: VmState;
  vaddrOld!: number;
  ram!: GuestRam;
  host: PassthroughHost | undefined;
  backends: Backends = { disks: [], netdevs: [], folders: [], listeners: [] };
  /** Waits until the kernel has the new vaddrs; undefined: it has, or `remapLater`. */
  remapped: (() => void) | undefined;
  /** Begins to give the kernel the new vaddrs, when the guest runs, and returns how to wait. */
  remapLater: (() => (() => void) | undefined) | undefined;
  /** The vital signs to use, if somebody has made them. */
  vitals: number | undefined;
  readonly harts: Writable<HartSections>[] = [];
  readonly shared = {} as Writable<SharedState>;
  monitor!: MonitorState;
  /** Whether the guest goes back to the image that it ran in before: its generation stays. */
  readonly rollback: boolean;
  /** What could not be kept, in sentences for people. */
  readonly doubts: string[] = [];
  readonly #remapsLate: boolean;
  #vm: Vm | undefined;
  #slices: MainSlices | undefined;

  readonly mapFlags: number | undefined;
  readonly #adapt: Adapt;

  /**
   * `vm`: this process has run the guest before, and takes it back. `adapt`: this process has
   * options of its own.
   */
  constructor({
    vm,
    rollback = false,
    remapsLate = false,
    adapt = (options) => options,
    mapFlags,
  }: NewImageOptions = {}) {
    this.mapFlags = mapFlags;
    this.rollback = rollback;
    this.#remapsLate = remapsLate;
    this.#adapt = adapt;
    if (!vm) return;
    const { ram, ramFd, host, backends } = vm.parts;
    this.#vm = vm;
    this.ram = { fd: ramFd, mapping: ram };
    this.host = host;
    this.backends = backends;
  }

  take(state: VmState): void {
    const generation = this.rollback ? state.generation : state.generation + 1;
    this.state = { ...state, generation, options: this.#adapt(state.options) };
  }

  /** `begin` gives the kernel the new vaddrs; the function that it returns waits for the end. */
  updateVaddrs(begin: () => (() => void) | undefined): void {
    if (this.#remapsLate) this.remapLater = begin;
    else this.remapped = begin();
  }

  /** The VM, put together when it is first asked for: `state`, `ram` and `host` are there then. */
  get vm(): Vm {
    this.#vm ??= assemble({
      state: this.state,
      ram: this.ram,
      backends: this.backends,
      host: this.host,
      vitals: this.vitals,
    });
    return this.#vm;
  }

  /** Main in the place of the VM's threads, put together when it is first asked for. */
  get slices(): MainSlices {
    this.#slices ??= new MainSlices(this.vm);
    return this.#slices;
  }

  /** Whether the guest's vital signs are those that somebody has made to watch them. */
  get isWatched(): boolean {
    return this.vitals !== undefined && this.vm.parts.vitals.fd === this.vitals;
  }

  get machine(): MachineState {
    return { harts: this.harts, ...this.shared };
  }
}
