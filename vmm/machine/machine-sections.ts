/**
 * The machine's state as sections. Hart 0's have plain names, those of hart n the names with n
 * (Section.numbered).
 */
import { SHARES_SECTION } from '../../devices/backends/exported-tree.ts';
import { STREAMS_SECTION } from '../../devices/backends/socket-stream.ts';
import { HART_SECTION } from '../../guest/riscv/state.ts';
import type { Section, Versioned } from '../../platform/section.ts';
import { VCPU_SECTION } from './hart-local/hart-local.ts';
import { hartNumbers, MAX_HARTS } from './hart-local/hart-number.ts';
import type { HartSections, MachineState } from './machine.ts';
import { APLIC_SECTION } from './shared/aplic.ts';
import { CLINT_SECTION } from './shared/clint.ts';
import { FW_CFG_SECTION } from './shared/fw-cfg.ts';
import { IOMMU_SECTION } from './shared/guest-iommu.ts';
import { ICOUNT_SECTION } from './shared/icount.ts';
import { PLIC_SECTION } from './shared/plic.ts';
import { REPLAY_SECTION } from './shared/replay/recording.ts';
import { RTC_SECTION } from './shared/rtc.ts';
import { SEMIHOSTING_SECTION } from './shared/semihosting.ts';
import { PCI_SECTION, type SharedState } from './shared/shared-machine.ts';
import { UART_SECTION } from './shared/uart.ts';
import { VIRTIO_SECTION } from './shared/virtio-devices.ts';

type SectionsOf<T> = { readonly [N in keyof T]-?: Section<NonNullable<T[N]> & Versioned> };

/** What all harts share. */
export const SHARED_SECTIONS: SectionsOf<SharedState> = {
  uart: UART_SECTION,
  pci: PCI_SECTION,
  plic: PLIC_SECTION,
  aplic: APLIC_SECTION,
  rtc: RTC_SECTION,
  fwCfg: FW_CFG_SECTION,
  icount: ICOUNT_SECTION,
  replay: REPLAY_SECTION,
  iommu: IOMMU_SECTION,
  virtio: VIRTIO_SECTION,
  semihosting: SEMIHOSTING_SECTION,
  streams: STREAMS_SECTION,
  shares: SHARES_SECTION,
};

/** By hart. */
export const HART_SECTIONS: readonly SectionsOf<HartSections>[] = hartNumbers(MAX_HARTS).map((hart) => ({
  vcpu: VCPU_SECTION.numbered(hart),
  hart: HART_SECTION.numbered(hart),
  clint: CLINT_SECTION.numbered(hart),
}));

type Sections = Readonly<Record<string, Section<Versioned>>>;
type Bodies = Readonly<Record<string, Versioned | undefined>>;

const named = (sections: Sections, bodies: Bodies): [string, Versioned][] =>
  Object.entries(bodies).flatMap(([part, body]) => (body ? [[sections[part]!.name, body]] : []));

/** The sections of a machine, by name. */
export const sectionsOfMachine = ({ harts, ...shared }: MachineState): Record<string, Versioned> =>
  Object.fromEntries([
    ...harts.flatMap((hart, number) => named(HART_SECTIONS[number] as unknown as Sections, hart as unknown as Bodies)),
    ...named(SHARED_SECTIONS as unknown as Sections, shared as unknown as Bodies),
  ]);

/** The machine of these sections. EINVAL: a section is wrong. */
export function machineOfSections(sections: ReadonlyMap<string, Versioned>, harts: number): MachineState {
  const decoded = (those: Sections): Record<string, Versioned> =>
    Object.fromEntries(
      Object.entries(those).flatMap(([part, section]) => {
        const body = sections.get(section.name);
        return body ? [[part, section.decode(body)]] : [];
      }),
    );
  return {
    harts: hartNumbers(harts).map((hart) => decoded(HART_SECTIONS[hart] as unknown as Sections)),
    ...decoded(SHARED_SECTIONS as unknown as Sections),
  } as unknown as MachineState;
}
