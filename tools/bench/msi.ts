/**
 * Bench of an MSI from its store to the client's eventfd. It is compared with a write(2) to that
 * eventfd, which could block.
 */
import { createDoorbellTable, DoorbellTable, eventfdSources } from '../../iommu/bus/interrupts.ts';
import { aioSignal } from '../../platform/libc/aio.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead, eventfdSignal } from '../../platform/libc/eventfd.ts';
import { close, dup } from '../../platform/libc/fd.ts';
import { type Figure, median, type Progress } from './result.ts';
import { translatedMemory } from './translated-memory.ts';

const VECTOR = 5;
const SIGNALS = 20_000;
const ROUNDS = 15;

/** µs of one call. */
function microseconds(signal: () => void): number {
  const start = performance.now();
  for (let i = 0; i < SIGNALS; i++) signal();
  return ((performance.now() - start) * 1000) / SIGNALS;
}

/** Time of MSI stores through a donated window, as a multiple of those by an MSI page table. */
function windowRatio(): number {
  const units = { flat: translatedMemory(30), window: translatedMemory(30, 'donated') };
  const store =
    ({ port, msiVpn }: typeof units.flat) =>
    (): void => {
      if (!port.write32(msiVpn, 0, VECTOR)) throw new Error('MSI bench: a store was refused');
      port.idle();
    };
  const [flat, window] = [store(units.flat), store(units.window)];
  for (const way of [flat, window]) microseconds(way);
  const ratios = Array.from({ length: ROUNDS }, () => microseconds(window) / microseconds(flat));
  for (const { release } of Object.values(units)) release();
  return median(ratios);
}

export async function benchMsi(progress: Progress): Promise<Figure[]> {
  await progress('signals');
  const interrupts = createDoorbellTable();
  const sources = eventfdSources(interrupts);
  const table = new DoorbellTable(interrupts);
  const fd = eventfd(0, EFD_CLOEXEC);
  const source = sources.open(dup(fd));
  table.setSource(VECTOR, source);
  const ways = { msi: () => table.ring(VECTOR), aio: () => aioSignal(fd), write: () => eventfdSignal(fd) };
  for (const way of Object.values(ways)) microseconds(way);
  eventfdRead(fd);
  const rounds = Array.from({ length: ROUNDS }, () => ({
    msi: microseconds(ways.msi),
    aio: microseconds(ways.aio),
    write: microseconds(ways.write),
  }));
  const count = eventfdRead(fd);
  if (count !== 3 * ROUNDS * SIGNALS) throw new Error(`MSI bench: ${count} signals arrived`);
  table.setSource(VECTOR, -1);
  sources.close(source);
  sources.dispose();
  close(fd);
  await progress('windows');
  return [
    { what: 'MSI to an eventfd', value: median(rounds.map(({ msi }) => msi)), unit: 'µs' },
    {
      what: 'MSI / write(2) to an eventfd',
      value: median(rounds.map(({ msi, write }) => msi / write)),
      unit: '×',
      atMost: 4,
    },
    {
      what: 'signal by aio / write(2)',
      value: median(rounds.map(({ aio, write }) => aio / write)),
      unit: '×',
      atMost: 4,
    },
    { what: 'MSI through a donated window / by an MSI page table', value: windowRatio(), unit: '×', atMost: 2 },
  ];
}
