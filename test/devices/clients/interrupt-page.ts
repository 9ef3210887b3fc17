/** Scenarios of clients with an interrupt page: `interrupt-page SOCKET SCENARIO [WORDS]`. */
import { AWAY, InterruptPage, RUNS, SLEEPS } from '../../../iommu/abi/interrupt-page.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { setCloexec } from '../../../platform/libc/fd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { int32s } from '../../../platform/shared.ts';
import { ClientPages } from '../../../vmm/client/client-pages.ts';
import { armIrqs } from '../../../vmm/client/irqs.ts';
import { connectTask } from '../../../vmm/client/kernel-client.ts';
import type { Registers } from '../../../vmm/client/registers.ts';
import { deviceOf, kernel, type OpenedDevice, openDeviceOf, say, setCommand, wait } from './script.ts';

const [, , socketPath, scenario, ...args] = process.argv as [string, string, string, string, ...string[]];

const EDU = '0000:00:04.0';
const MSI = 1;
const MEMORY_AND_MASTER = 6;
/** Registers of edu: the interrupt status, and those that set and clear bits of it. */
const [STATUS, RAISE, ACKNOWLEDGE] = [0x24, 0x60, 0x64];
const THREADS = { away: AWAY, runs: RUNS, sleeps: SLEEPS } as const;
const PATIENCE_MS = 60_000;
const INTERRUPTS = 5;

const { thread } = InterruptPage.word;

interface Armed extends OpenedDevice {
  readonly irq: number;
  readonly words: Int32Array;
}

/** edu with an eventfd for its MSI, and an interrupt page. */
function arm(): Armed {
  const opened = openDeviceOf(1, EDU);
  setCommand(opened.device, MEMORY_AND_MASTER);
  const irq = eventfd(0, EFD_CLOEXEC);
  armIrqs(kernel, opened.fd, MSI, [irq]);
  const page = new ClientPages(connectTask(socketPath).socket).interrupts(opened.fd)!;
  return { ...opened, irq, words: int32s(page) };
}

/** One MSI; it has been sent when this returns. */
function interrupt(registers: Registers): void {
  registers.write(RAISE, 1);
  registers.write(ACKNOWLEDGE, 1);
  registers.read(STATUS);
}

/** Reads the eventfd until `expected` signals have come; what has come then. */
function signals(irq: number, expected: number): number {
  let count = 0;
  while (count < expected && poll([{ fd: irq, events: POLLIN }], PATIENCE_MS)) count += eventfdRead(irq);
  return count;
}

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** Without a thread that takes interrupts from the page, the eventfd has them all. */
  interrupts() {
    const { registers, irq } = arm();
    for (let i = 0; i < INTERRUPTS; i++) interrupt(registers);
    return signals(irq, INTERRUPTS);
  },

  /** Puts nonsense into its page while the device interrupts, and then dies. */
  scribble() {
    const { registers, words } = arm();
    let seed = 1;
    const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 2000; i++) words[random() % words.length] = random() % 2 === 0 ? random() : random() % 4;
      if (round % 3 !== 0) words[thread] = random() % 4; // another one than the three is nonsense, too
      interrupt(registers);
    }
    say(registers.read(0));
    words.fill(-1);
    process.kill(process.pid, 'SIGKILL');
    return wait();
  },

  /** Dies with its thread in a state, and with interrupts in the page. */
  die() {
    const { registers, words } = arm();
    Atomics.store(words, thread, THREADS[args[0] as keyof typeof THREADS]);
    for (let i = 0; i < INTERRUPTS; i++) interrupt(registers);
    process.kill(process.pid, 'SIGKILL');
    return wait();
  },

  /** Execs with its thread in a state, and with interrupts in the page. */
  exec() {
    const { registers, words, irq, fd, groupFd, container } = arm();
    Atomics.store(words, thread, THREADS[args[0] as keyof typeof THREADS]);
    for (let i = 0; i < INTERRUPTS; i++) interrupt(registers);
    for (const inherited of [0, 1, 2, irq, fd, groupFd, container]) setCloexec(inherited, false);
    const argv = [process.execPath, ...process.execArgv, process.argv[1]!, socketPath, 'inherit', `${irq}`, `${fd}`];
    return execve(argv[0]!, argv, process.env);
  },

  /** The next image: what lay in the page has come to the eventfd, and later interrupts do. */
  inherit() {
    const [irq, fd] = args.map(Number) as [number, number];
    const before = signals(irq, INTERRUPTS);
    interrupt(deviceOf(fd, EDU).registers);
    return { before, after: signals(irq, 1) };
  },
};

say(SCENARIOS[scenario]!());
wait();
