/**
 * Plans the board from the options: every device gets its slot, its group and the places of its
 * BARs. Nothing is built here.
 */
import { einval } from '../../platform/errno.ts';
import type { Bar } from '../kit/device.ts';
import { barsOf, identityOf, romOf } from '../kit/function-properties.ts';
import { parseProperties } from '../kit/properties.ts';
import { romShape } from '../kit/rom.ts';
import { type BackendOptions, BoardBackends } from './backends.ts';
import { type Model, modelOf } from './device-types.ts';
import { assignBars, interruptLine } from './firmware.ts';
import { PciBus, slotOf } from './pci-bus.ts';

export interface DeviceOptions {
  readonly type: string;
  /**
   * The device's own properties; two that say its place: `addr`, its slot (default: the first free
   * one, from 2 upward), and `iommu`, the name of the IOMMU unit in front of it (default: the first
   * one); and the id of its backend (DeviceType.backend).
   */
  readonly properties: Readonly<Record<string, string>>;
}

export interface PlannedDevice {
  readonly model: Model;
  /** The device's own properties. */
  readonly properties: Readonly<Record<string, string>>;
  /** The option of its backend. */
  readonly backend?: string | undefined;
  readonly bdf: number;
  /** Index of the IOMMU unit in front of it; undefined for a mediated device. */
  readonly unit: number | undefined;
  /** IOMMU group. The device is alone in it. */
  readonly group: number;
  readonly bars: readonly Bar[];
  /** The bytes of its expansion ROM; undefined for a function without. */
  readonly rom: Uint8Array | undefined;
  /** The addresses that firmware has written: BAR index → pa or first port. */
  readonly barAddresses: Readonly<Record<number, number>>;
  readonly interruptLine: number;
}

export interface PlanOptions extends BackendOptions {
  readonly devices: readonly DeviceOptions[];
  /** Names of the IOMMU units. */
  readonly units: readonly string[];
  /** The number of the first group. Groups are numbered upward in the order of the slots. */
  readonly firstGroup: number;
}

/** The devices in the order of their slots. EINVAL or ENOSPC for options that cannot be built. */
export function planDevices({ devices, units, firstGroup, ...named }: PlanOptions): PlannedDevice[] {
  const backends = new BoardBackends(named);
  const placed = placeDevices(
    devices.map((device) => ({ ...device, ...backends.takeFor(device.type, device.properties) })),
  );
  backends.end();
  const parsed = placed.map((device) => {
    const { type, properties, iommu } = device;
    const model = modelOf(type);
    const unit = unitOf(model, iommu, units);
    const values = parseProperties(type, model.type.properties, properties);
    const { interruptPin } = identityOf(model.type.identity, values);
    return { ...device, model, unit, bars: barsOf(model.type, values), rom: romOf(values), interruptPin };
  });
  const addresses = assignBars(parsed.map(({ bars, rom }) => (rom ? [...bars, romShape(rom)] : bars)));
  return parsed.map(({ model, properties, backend, bdf, unit, bars, rom, interruptPin }, i) => ({
    model,
    properties,
    backend,
    bdf,
    unit,
    group: firstGroup + i,
    bars,
    rom,
    barAddresses: addresses[i]!,
    interruptLine: interruptLine(slotOf(bdf), interruptPin),
  }));
}

/** Index of the unit in front of a device. */
function unitOf({ type }: Model, iommu: string | undefined, units: readonly string[]): number | undefined {
  if (type.mediated && iommu === undefined) return undefined;
  if (type.mediated) throw einval(`${type.name}: iommu=${iommu}: it is behind none`);
  if (iommu === undefined) return 0;
  const unit = units.indexOf(iommu);
  if (unit < 0) throw einval(`${type.name}: iommu=${iommu}: expected one of ${units.join(', ')}`);
  return unit;
}

interface PlacedOptions {
  readonly type: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly backend?: string | undefined;
  readonly iommu: string | undefined;
  readonly bdf: number;
}

/** Places the devices. Those with an address come first, and the others get the free slots. */
function placeDevices(devices: readonly (DeviceOptions & Pick<PlacedOptions, 'backend'>)[]): PlacedOptions[] {
  const bus = new PciBus();
  const split = devices.map(({ type, backend, properties: { addr, iommu, ...properties } }) => ({
    type,
    backend,
    iommu,
    properties,
    addr,
  }));
  const fixed = split.flatMap(({ addr, ...device }) =>
    addr === undefined ? [] : [{ ...device, bdf: takeAddr(bus, device.type, addr) }],
  );
  const free = split.flatMap(({ addr, ...device }) => (addr === undefined ? [{ ...device, bdf: bus.takeNext() }] : []));
  return [...fixed, ...free].sort((a, b) => a.bdf - b.bdf);
}

function takeAddr(bus: PciBus, type: string, addr: string): number {
  const bdf = bus.take(addr);
  if (bdf === undefined) throw einval(`${type}: addr=${addr}: expected a free slot from 2 to 1f`);
  return bdf;
}
