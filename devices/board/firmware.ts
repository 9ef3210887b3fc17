/**
 * Does what the firmware of a PC has done to the functions of bus 0 before a kernel looks: it puts
 * addresses in the BARs and a number in the interrupt line register. The places are those that
 * SeaBIOS finds on QEMU's q35. Two regions end below the I/O APIC: one of prefetchable and one of
 * other memory BARs, each with the larger BARs first. Ranges are [start, end).
 */
import { SysError } from '../../platform/errno.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { BarShape } from '../kit/config-space.ts';

/** The start of the BAR window. Nothing else of the board's memory lies in the window. */
const WINDOW_START = 0xc000_0000;
const WINDOW_END = 0xfec0_0000;
const PORTS_START = 0xc000;
const PORTS_END = 0x1_0000;
/** The IRQs of the links A–D of the interrupt router. A slot's pins start at link slot mod 4. */
const LINK_IRQS = [10, 10, 11, 11] as const;

/** A BAR of one of the functions. `owner` is the function's place in the list. */
interface Placed {
  readonly owner: number;
  readonly index: number;
  readonly size: number;
}

/**
 * The addresses of all BARs: BAR index → pa or first port, for each function in the order given.
 * ENOSPC when they do not fit.
 */
export function assignBars(functions: readonly (readonly BarShape[])[]): Record<number, number>[] {
  const all = functions.flatMap((bars, owner) => bars.map((bar) => ({ ...bar, owner })));
  const memory = all.filter(({ space }) => space === 'memory');
  const plain = memory.filter(({ prefetchable }) => !prefetchable).map(atLeastOnePage);
  const prefetchable = memory.filter((bar) => bar.prefetchable).map(atLeastOnePage);
  const ports = all.filter(({ space }) => space === 'io').sort(largerFirst);
  plain.sort(largerFirst);
  prefetchable.sort(largerFirst);

  // The region with the larger alignment lies below.
  const [below, above] = alignmentOf(plain) < alignmentOf(prefetchable) ? [prefetchable, plain] : [plain, prefetchable];
  const aboveStart = startOf(above, WINDOW_END);
  const belowStart = startOf(below, aboveStart);
  if (belowStart < WINDOW_START) throw new SysError('ENOSPC', 'the memory BARs of all devices do not fit');
  if (PORTS_START + sizeOf(ports) > PORTS_END) throw new SysError('ENOSPC', 'the I/O BARs of all devices do not fit');

  const addresses: Record<number, number>[] = functions.map(() => ({}));
  place(above, aboveStart, addresses);
  place(below, belowStart, addresses);
  place(ports, PORTS_START, addresses);
  return addresses;
}

/** A BAR has its page to itself, so that the page can be given to a user (PCI-1). */
const atLeastOnePage = ({ owner, index, size }: Placed): Placed => ({ owner, index, size: Math.max(size, PAGE_SIZE) });

// sort() keeps the order of equals
const largerFirst = (a: Placed, b: Placed): number => b.size - a.size;

const sizeOf = (bars: readonly Placed[]): number => bars.reduce((sum, { size }) => sum + size, 0);

/** The alignment of a sorted region: the size of its largest BAR. */
const alignmentOf = ([largest]: readonly Placed[]): number => largest?.size ?? 1;

function startOf(region: readonly Placed[], end: number): number {
  const alignment = alignmentOf(region);
  return Math.floor((end - sizeOf(region)) / alignment) * alignment;
}

function place(region: readonly Placed[], start: number, addresses: Record<number, number>[]): void {
  let at = start;
  for (const { owner, index, size } of region) {
    addresses[owner]![index] = at;
    at += size;
  }
}

/** Interrupt line register of a function; 0 without a pin (1 INTA … 4 INTD). */
export function interruptLine(slot: number, pin: number): number {
  return pin === 0 ? 0 : LINK_IRQS[(slot + pin - 1) % 4]!;
}
