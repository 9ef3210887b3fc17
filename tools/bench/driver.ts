/**
 * Bench of what a guest's driver waits for on a passed-through device, by the guest's own clock
 * (guest/programs/latency.c): registers, interrupts, DMA.
 */
import { join } from 'node:path';
import { nodeEnv } from '../../platform/node-env.ts';
import { Child } from '../launch/child.ts';
import { HostProcess } from '../launch/host.ts';
import { guestPath } from '../launch/programs.ts';
import { vmmArgv } from '../launch/vmm.ts';
import type { Figure, Progress } from './result.ts';

const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffff';
/** Its interrupt comes when the guest has slept for long. */
const LATE_EDU = 'edu,dma-latency-ms=1,dma-mask=0xffffffff';
const LINE = /^@latency (\S+) (\d+) (\d+)$/;

interface Row {
  /** The guest's name for it. */
  readonly name: string;
  readonly what: string;
  /** The promises, in µs: for the median, and for 99 of 100. */
  readonly atMost?: number;
  readonly mostlyAtMost?: number;
}

const ROWS: readonly Row[] = [
  { name: 'clock', what: "floor: a look at the guest's clock" },
  { name: 'read', what: 'guest reads a register', atMost: 2, mostlyAtMost: 10 },
  { name: 'read-asleep', what: 'guest reads a register, after 10 ms of sleep of both', atMost: 60 },
  { name: 'write', what: 'guest writes a register', atMost: 2, mostlyAtMost: 10 },
  { name: 'write-asleep', what: 'guest writes a register, after 10 ms of sleep of both', atMost: 60 },
  { name: 'msi-running', what: "register write to the MSI's handler, guest runs", atMost: 5 },
  { name: 'msi-sleeping', what: "register write to the MSI's handler, guest in WFI at once", atMost: 60 },
  { name: 'dma', what: 'DMA of 4 KiB, from the registers to the handler', atMost: 50 },
  { name: 'late-running', what: 'DMA due in 1 ms: so much later the handler, guest runs' },
  { name: 'late-sleeping', what: 'DMA due in 1 ms: so much later the handler, guest asleep in WFI', atMost: 60 },
];

const promise = (atMost: number | undefined): Pick<Figure, 'atMost'> => (atMost === undefined ? {} : { atMost });

interface Latency {
  readonly medianUs: number;
  readonly worstUs: number;
}

/** Runs the guest to its end; its figures by name. */
async function measure(host: HostProcess): Promise<ReadonlyMap<string, Latency>> {
  const bdfs = host.devices.map(({ bdf }) => bdf);
  const plan = {
    host: host.socket,
    bdfs,
    memory: '64M',
    kernel: guestPath('latency'),
    qmp: join(host.dir, 'qmp.sock'),
  };
  const vmm = new Child({ name: 'the VMM', argv: vmmArgv(plan), lifeline: true, env: nodeEnv() });
  const measured = new Map<string, Latency>();
  vmm.onLine('stdout', (line) => {
    const [, name, median, worst] = LINE.exec(line) ?? [];
    if (name !== undefined) measured.set(name, { medianUs: Number(median) / 10, worstUs: Number(worst) / 10 });
  });
  try {
    const { status } = await vmm.closed;
    if (status !== 0) throw new Error(`the guest of the bench failed: ${vmm.errors}`);
    return measured;
  } finally {
    await vmm.stop();
  }
}

export async function benchDriver(progress: Progress): Promise<Figure[]> {
  await progress('a guest measures');
  const host = await HostProcess.start([EDU, LATE_EDU]);
  try {
    const measured = await measure(host);
    return ROWS.flatMap(({ name, what, atMost, mostlyAtMost }) => {
      const { medianUs, worstUs } = measured.get(name)!;
      return [
        { what: `${what}, median`, value: medianUs, unit: 'µs', ...promise(atMost) },
        { what: `${what}, 99 %`, value: worstUs, unit: 'µs', ...promise(mostlyAtMost) },
      ];
    });
  } finally {
    await host.stop();
  }
}
