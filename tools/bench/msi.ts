/**
 * Bench of an MSI from its store to the client's eventfd. It is compared with a write(2) to that
 * eventfd, which could block.
 */
import { createDoorbellTable, DoorbellTable, eventfdSources } from '../../iommu/bus/interrupts.ts';
import { aioSignal } from '../../platform/libc/aio.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead, eventfdSignal } from '../../platform/libc/eventfd.ts';
import { close, dup } from '../../platform/libc/fd.ts';
import { type Figure, median, type Progress } from './result.ts';

const VECTOR = 5;
const SIGNALS = 20_000;
const ROUNDS = 15;

/** µs of one call. */
function microseconds(signal: () => void): number {
  const start = performance.now();
  for (let i = 0; i < SIGNALS; i++) signal();
  return ((performance.now() - start) * 1000) / SIGNALS;
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
  ];
}
