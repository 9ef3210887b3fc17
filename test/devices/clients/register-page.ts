/** Scenarios of clients that reach registers by a page: `register-page SOCKET SCENARIO`. */
import { PCI_COMMAND } from '../../../iommu/abi/pci-regs.ts';
import {
  ABANDONED,
  DONE,
  POSTED,
  RegisterPage,
  RegisterPageClient,
  SERVING,
} from '../../../iommu/abi/register-page.ts';
import { codeOf } from '../../../platform/errno.ts';
import { setCloexec } from '../../../platform/libc/fd.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { ClientPages } from '../../../vmm/client/client-pages.ts';
import { connectTask } from '../../../vmm/client/kernel-client.ts';
import { deviceOf, kernel, type OpenedDevice, openDeviceOf, say, setCommand, wait } from './script.ts';

const [, , socketPath, scenario, ...args] = process.argv as [string, string, string, string, ...string[]];

const EDU = '0000:00:04.0';
const MEMORY = 2;
/** The register of edu that gives back the complement of what was written. */
const LIVENESS = 4;
const LAST_STORED = 9;

function pageOf({ fd }: OpenedDevice): SharedPart {
  return new ClientPages(connectTask(socketPath).socket).registers(fd)!;
}

const outcome = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return codeOf(error);
  }
};

/** Accesses by the page until so many loads were made by it; the values of the register. */
function byPage(opened: OpenedDevice, page: SharedPart, most: number): { loads: number; wrong: number } {
  const { registers, device } = opened;
  const word = new Uint8Array(4);
  // COMMAND is read from the device; the ids would come from the kernel's copy (PCI-9)
  const client = new RegisterPageClient(page, () => device.readConfig(PCI_COMMAND, word));
  let loads = 0;
  let wrong = 0;
  for (let i = 1; i < 200_000 && loads < most; i++) {
    if (!client.store(0, LIVENESS, 4, i, 0)) registers.write(LIVENESS, i);
    const passed = client.load(0, LIVENESS, 4);
    const value = passed ? client.lo : registers.read(LIVENESS);
    if (passed) loads++;
    if (value !== ~i >>> 0) wrong++;
  }
  return { loads, wrong };
}

const STATES = { posted: POSTED, serving: SERVING, done: DONE, abandoned: ABANDONED } as const;

/** Leaves stores in the queue, and a load in the state that is asked for. */
function leave(opened: OpenedDevice): void {
  const page = pageOf(opened);
  byPage(opened, page, 20);
  const client = new RegisterPageClient(page, () => {});
  for (let i = 1; i <= LAST_STORED; i++) if (!client.store(0, LIVENESS, 4, i, 0)) opened.registers.write(LIVENESS, i);
  Atomics.store(int32s(page), RegisterPage.word.state, STATES[args[0] as keyof typeof STATES]);
}

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** A load after each store, by the page or by the kernel, sees it. */
  accesses() {
    const opened = openDeviceOf(1, EDU);
    return byPage(opened, pageOf(opened), 100);
  },

  /** While memory decoding is off nothing passes by the page; on again it does. */
  decoding() {
    const opened = openDeviceOf(1, EDU);
    const page = pageOf(opened);
    const before = byPage(opened, page, 20);
    setCommand(opened.device, 0);
    const attentive = Atomics.load(int32s(page), RegisterPage.word.attentive);
    const refused = outcome(() => opened.registers.read(0));
    setCommand(opened.device, MEMORY);
    return { before, attentive, refused, after: byPage(opened, page, 20) };
  },

  /** After a reset the registers have their first values, whatever was posted before. */
  reset() {
    const opened = openDeviceOf(1, EDU);
    const page = pageOf(opened);
    byPage(opened, page, 20);
    opened.device.reset();
    return { liveness: opened.registers.read(LIVENESS), after: byPage(opened, page, 20) };
  },

  /** The last close takes the page away; another page is another file's. */
  closes() {
    const first = openDeviceOf(1, EDU);
    const page = pageOf(first);
    byPage(first, page, 20);
    kernel.close(first.fd);
    const attentive = Atomics.load(int32s(page), RegisterPage.word.attentive);
    const given = Array.from({ length: 10 }, () => outcome(() => kernel.registerPage(kernel.open('/dev/livevmm'))));
    return { attentive, given: new Set(given).size };
  },

  /** Puts nonsense into its page for a while, and then dies. */
  scribble() {
    const opened = openDeviceOf(1, EDU);
    const words = int32s(pageOf(opened));
    let seed = 1;
    const random = (): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed;
    };
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 2000; i++) words[random() % 1024] = random() % 2 === 0 ? random() : random() % 5;
      opened.registers.read(0); // the worker wakes, and looks
    }
    say(opened.registers.read(0));
    words[RegisterPage.word.produced] = 12345;
    words[RegisterPage.word.state] = 1;
    process.kill(process.pid, 'SIGKILL');
    return wait();
  },

  /** Dies in the middle of a load, with stores in the queue. */
  die() {
    leave(openDeviceOf(1, EDU));
    process.kill(process.pid, 'SIGKILL');
    return wait();
  },

  /** Execs in the middle of a load, with stores in the queue. */
  exec() {
    const opened = openDeviceOf(1, EDU);
    leave(opened);
    for (const fd of [0, 1, 2, opened.fd, opened.groupFd, opened.container]) setCloexec(fd, false);
    const argv = [process.execPath, ...process.execArgv, process.argv[1]!, socketPath, 'inherit', `${opened.fd}`];
    return execve(argv[0]!, argv, process.env);
  },

  /** The next image finds the stores made: they were on the bus. */
  inherit() {
    const fd = Number(args[0]);
    const opened = { ...deviceOf(fd, EDU), container: -1, groupFd: -1 };
    return { stored: opened.registers.read(LIVENESS), after: byPage(opened, pageOf(opened), 20) };
  },
};

say(SCENARIOS[scenario]!());
wait();
