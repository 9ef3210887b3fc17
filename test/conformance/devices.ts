/**
 * The devices of a recording, in one thread: the kernel's vfio-pci calls each device's own code
 * directly, with no worker between them.
 */
import { type PlannedDevice, planDevices } from '../../devices/board/floor-plan.ts';
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import { Endpoint } from '../../devices/kit/endpoint.ts';
import { placeInObject } from '../../iommu/abi/device-object.ts';
import { BarGate, createBarGate } from '../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { createIntxLine, DoorbellTable, eventfdSources, IntxLine, NR_VECTORS } from '../../iommu/bus/interrupts.ts';
import { objectSize, type PciFunction } from '../../iommu/bus/pci-function.ts';
import { createRegisterPages } from '../../iommu/bus/register-pages.ts';
import { createTimeline, Timeline } from '../../iommu/bus/timeline.ts';
import type { Profile } from '../../iommu/kernel/core/profile.ts';
import { Kvemu } from '../../iommu/kernel/mdev/kvemu.ts';
import { DeviceMemoryTable } from '../../iommu/kernel/mm/device-memory.ts';
import type { PciAccess } from '../../iommu/kernel/vfio/pci/access.ts';
import { PciDevice } from '../../iommu/kernel/vfio/pci/device.ts';
import { VectorAllocator } from '../../iommu/kernel/vfio/pci/vector-allocator.ts';
import type { VfioOptions } from '../../iommu/kernel/vfio/vfio.ts';
import { monotonicNs } from '../../platform/clock.ts';
import { close } from '../../platform/libc/fd.ts';
import { type Halves, REGION_CONFIG } from '../../platform/mailbox.ts';
import { createMemory } from '../../platform/memory.ts';
import type { RecordedMachine } from '../../tools/conform/recorded-machine.ts';
import type { FakeMachine } from '../fakes/fake-machine.ts';

/**
 * Of all devices, as nobody reads it and a new one for each takes most of the time that a case
 * takes to begin.
 */
const TIMELINE = createTimeline();

/** Cycles go straight into the function, which then does what there is to do. */
class DirectAccess implements PciAccess {
  readonly #endpoint: Endpoint;
  readonly #idle: () => void;

  constructor(endpoint: Endpoint, idle: () => void) {
    this.#endpoint = endpoint;
    this.#idle = idle;
  }

  readConfig(offset: number, size: number): number {
    const { lo } = this.#endpoint.read(REGION_CONFIG, offset, size);
    return size === 4 ? lo : lo & (2 ** (8 * size) - 1);
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.#endpoint.write(REGION_CONFIG, offset, size, value >>> 0, 0);
    this.#run();
  }

  readBar(bar: number, offset: number, size: number): Halves {
    return this.#endpoint.read(bar, offset, size);
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.#endpoint.write(bar, offset, size, lo, hi);
    this.#run();
  }

  #run(): void {
    this.#endpoint.run();
    this.#idle();
  }
}

export class ReplayDevices {
  readonly vfio: VfioOptions['devices'];
  readonly #machine: FakeMachine;
  readonly #profile: Profile;
  readonly #sources;
  readonly #vectors = new VectorAllocator(NR_VECTORS);
  readonly #deviceMemory = new DeviceMemoryTable();
  readonly #objects: number[] = [];

  constructor({ options }: RecordedMachine, machine: FakeMachine, profile: Profile) {
    this.#machine = machine;
    this.#profile = profile;
    this.#sources = eventfdSources(machine.interrupts);
    const { devices = [], firstGroup = 0, kvemuGroups = [] } = options;
    const plan = planDevices({ devices, units: ['iommu0'], firstGroup });
    const kvemu = kvemuGroups.map((id, i) => ({ device: new Kvemu(i), iommuGroup: { id, dids: [] } }));
    this.vfio = [...plan.map((device) => this.#pci(device)), ...kvemu];
  }

  #pci(plan: PlannedDevice): VfioOptions['devices'][number] {
    const { model, bdf, group, properties, barAddresses, interruptLine } = plan;
    const { driver, interrupts } = this.#machine;
    const fn = this.#function(plan);
    const sources = this.#sources;
    const dma = this.#machine.port(bdf);
    const slot = {
      dma,
      line: new IntxLine(fn.intx, sources),
      clock: monotonicNs,
      timeline: new Timeline(fn.timeline),
      control: new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES)),
      memoryBars: new BarGate(fn.barGate),
    };
    const endpoint = new Endpoint(model.type, slot, properties);
    endpoint.boot(barAddresses, interruptLine);
    const fabric = {
      doorbells: new DoorbellTable(interrupts),
      vectors: this.#vectors,
      doorbell: driver.doorbellOf(bdf),
      fence: () => driver.fence(),
    };
    const device = new PciDevice({
      fn,
      pci: new DirectAccess(endpoint, () => dma.idle()),
      fabric,
      sources,
      profile: this.#profile,
      deviceMemory: this.#deviceMemory,
      fenceAll: () => driver.fence(),
    });
    return { device, iommuGroup: { id: group, iommuDevice: driver, dids: [bdf] } };
  }

  #function({ model, bdf, unit, group, bars }: PlannedDevice): PciFunction {
    const ramBars = bars
      .filter(({ kind }) => kind === 'ram')
      .map(({ index, size }) => ({ bar: index, size, at: placeInObject(index, true) }));
    const object = createMemory('vfio-device', objectSize(ramBars));
    this.#objects.push(object);
    return {
      bdf,
      name: model.type.name,
      mailbox: new SharedArrayBuffer(0),
      peerBox: new SharedArrayBuffer(0),
      intx: createIntxLine(),
      counters: createPortCounters(),
      timeline: TIMELINE,
      unit,
      group,
      object,
      ramBars,
      barGate: createBarGate(),
      registerPages: createRegisterPages(),
    };
  }

  close(): void {
    this.#sources.dispose();
    for (const fd of this.#objects) close(fd);
  }
}
