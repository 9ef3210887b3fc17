/** Scenarios of clients that make calls by a call page: `call-page SOCKET SCENARIO [WORDS]`. */
import { closeSync } from 'node:fs';
import { AWAKE } from '../../../iommu/abi/bell.ts';
import { CallPageClient } from '../../../iommu/abi/call-page.ts';
import { VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { VFIO_CONTAINER_PATH } from '../../../iommu/abi/wire.ts';
import { codeOf } from '../../../platform/errno.ts';
import { dup, setCloexec } from '../../../platform/libc/fd.ts';
import { futexWake } from '../../../platform/libc/futex.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { Mapping } from '../../../platform/memory.ts';
import { int32s, type SharedPart, wholeOf, within } from '../../../platform/shared.ts';
import { connectTask } from '../../../vmm/client/kernel-client.ts';
import { askForObject } from '../../../vmm/client/passed-object.ts';
import { Conversation, TaskChannel } from '../../../vmm/client/task-channel.ts';
import { kernel, openDeviceOf, say, wait } from './script.ts';

const [, , socketPath, scenario, ...words] = process.argv as [string, string, string, string, ...string[]];

const EDU = '0000:00:04.0';
const STATES = { posted: 1, rung: 1, serving: 2, done: 3, bySocket: 4 } as const;
/** Indices of the page's words. */
const [STATE, ATTENTIVE, BELL] = [0, 16, 38];
/** After so long the kernel's thread sleeps. */
const REST_MS = 20;

/** A task channel of this thread with its page, for calls by hand. */
function pageByHand(): { socket: number; page: SharedPart } {
  const { socket } = connectTask(socketPath);
  const { object } = askForObject(socket, { op: 'page' });
  return { socket, page: within(wholeOf(new Mapping(object!, 4096).buffer), 0, 4096) };
}

const outcome = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return codeOf(error);
  }
};

/** Puts a page into a state; `rung`: with a ring of its bell. */
function putInState(page: SharedPart, state: keyof typeof STATES): void {
  const words = int32s(page);
  Atomics.store(words, STATE, STATES[state]);
  if (state !== 'rung') return;
  Atomics.store(words, ATTENTIVE, AWAKE);
  Atomics.add(words, BELL, 1);
  futexWake({ words, index: BELL, shared: true });
}

/** Enough calls for the kernel to look at the page, and for the client to have one. */
function burst(fd: number): void {
  for (let call = 0; call < 300; call++) kernel.ioctl(fd, VFIO_GET_API_VERSION, 0);
}

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** The same calls, until some of them were answered by the page; all answers are right. */
  answers() {
    const { socket, page } = pageByHand();
    const calls = new CallPageClient(page);
    const conversation = new Conversation(socket);
    const fd = kernel.open(VFIO_CONTAINER_PATH);
    const count = { answered: 0, refused: 0, 'by-socket': 0 };
    const answers = new Set<number>();
    for (let call = 0; call < 300_000 && count.answered < 10; call++) {
      const passed = calls.ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
      count[passed]++;
      if (passed === 'answered') answers.add(calls.ret);
      else {
        const request = { op: 'ioctl', fd, nr: VFIO_CHECK_EXTENSION, arg: VFIO_TYPE1v2_IOMMU } as const;
        answers.add((passed === 'refused' ? conversation.exchange(request) : conversation.receive()).ret);
      }
      if (passed !== 'refused') calls.free();
    }
    const second = outcome(() => conversation.ask({ op: 'page' }, 'a second page'));
    return { answers: [...answers], answered: count.answered, second };
  },

  /** Calls to a kernel that sleeps, until some of them were answered by the page. */
  rests() {
    const { socket, page } = pageByHand();
    const calls = new CallPageClient(page);
    const conversation = new Conversation(socket);
    const fd = kernel.open(VFIO_CONTAINER_PATH);
    const answers = new Set<number>();
    let answered = 0;
    for (let call = 0; call < 1000 && answered < 10; call++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REST_MS);
      const passed = calls.ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
      if (passed === 'answered') {
        answers.add(calls.ret);
        answered++;
      } else if (passed === 'by-socket') conversation.receive();
      if (passed !== 'refused') calls.free();
    }
    return { answers: [...answers], answered };
  },

  /** A number that was one file's is the next one's. */
  'fd-again'() {
    const first = kernel.open(VFIO_CONTAINER_PATH);
    dup(first); // the file stays open
    burst(first);
    kernel.close(first);
    const closed = outcome(() => kernel.ioctl(first, VFIO_GET_API_VERSION, 0));
    const { registers } = openDeviceOf(1, EDU);
    for (let call = 0; call < 300; call++) registers.read(0);
    return { closed, identification: registers.read(0) };
  },

  /** close(2) of the last fd, behind the library's back. */
  'close-by-hand'() {
    const said = new Set<unknown>();
    for (let round = 0; round < 50; round++) {
      const fd = kernel.open(VFIO_CONTAINER_PATH);
      burst(fd);
      closeSync(fd);
      said.add(outcome(() => kernel.ioctl(fd, VFIO_GET_API_VERSION, 0)));
    }
    return [...said];
  },

  /** Puts nonsense into its page without end, and makes the kernel look at it all the time. */
  scribble() {
    const { socket, page } = pageByHand();
    const words = int32s(page);
    const conversation = new TaskChannel(socket);
    const fd = kernel.open(VFIO_CONTAINER_PATH);
    say('scribbling');
    let seed = 1;
    const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
    for (;;) {
      for (let i = 0; i < 2000; i++) words[random() % 64] = random() % 3 === 0 ? random() : random() % 6;
      const hungUp = outcome(() => conversation.ioctl(fd, VFIO_GET_API_VERSION, 0));
      if (hungUp === 'EPIPE') return 'hung up';
    }
  },

  /** Dies with its page in a state. */
  die() {
    const { socket, page } = pageByHand();
    const fd = kernel.open(VFIO_CONTAINER_PATH);
    const channel = new TaskChannel(socket);
    for (let call = 0; call < 10; call++) channel.ioctl(fd, VFIO_GET_API_VERSION, 0);
    putInState(page, words[0] as keyof typeof STATES);
    process.kill(process.pid, 'SIGKILL');
    return wait();
  },

  /** Execs with its page in a state; the next image uses the file that it inherits. */
  exec() {
    const { socket, page } = pageByHand();
    const fd = kernel.open(VFIO_CONTAINER_PATH);
    const channel = new TaskChannel(socket);
    for (let call = 0; call < 10; call++) channel.ioctl(fd, VFIO_GET_API_VERSION, 0);
    for (const inherited of [0, 1, 2, fd]) setCloexec(inherited, false);
    putInState(page, words[0] as keyof typeof STATES);
    const argv = [process.execPath, ...process.execArgv, process.argv[1]!, socketPath, 'inherit', String(fd)];
    return execve(argv[0]!, argv, process.env);
  },

  inherit() {
    const fd = Number(words[0]);
    burst(fd);
    return kernel.ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
  },
};

say(SCENARIOS[scenario]!());
wait();
