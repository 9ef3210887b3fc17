/**
 * Replays vector cases in one process on the kernel's own VFIO: containers, groups, devices, type1,
 * IOMMU driver and system calls. Only the processes and their memory are made up. Cases that map a
 * BAR, or watch one by an ioeventfd, cannot run here.
 */
import { setImmediate as turn } from 'node:timers/promises';

import { type Profile, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import { moduleParameter } from '../../iommu/kernel/vfio/type1/module-parameters.ts';
import { Type1Driver } from '../../iommu/kernel/vfio/type1/type1.ts';
import { DEFAULT_PARAMETERS, type Type1Parameters } from '../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { Vfio } from '../../iommu/kernel/vfio/vfio.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { formatBytes } from '../../tools/conform/notation.ts';
import { type RecordedMachine, recordedMachine } from '../../tools/conform/recorded-machine.ts';
import type { CallContext, StepTable } from '../../tools/conform/steps/call-context.ts';
import { CALL_STEPS } from '../../tools/conform/steps/table.ts';
import { Words } from '../../tools/conform/steps/words.ts';
import { type VectorCase, VectorError, type VectorFile, type VectorStep } from '../../tools/conform/vector-file.ts';
import { FakeMachine } from '../fakes/fake-machine.ts';
import { ReplayDevices } from './devices.ts';
import { ReplayProcess, type Surroundings } from './process.ts';

/** A thread of a process; one step of it at a time. */
interface Actor {
  readonly process: ReplayProcess;
  /** The step under way, and its answer once there is one. */
  running: Promise<void> | undefined;
  answer: string | undefined;
}

interface ReplayContext extends CallContext {
  readonly run: InProcessCase;
  readonly process: ReplayProcess;
}

/**
 * For each ioeventfd the kernel starts a thread, and a replay of them takes longer than all others.
 */
const SLOW = 'ioeventfd';

/** Whether every operation of a case can be replayed here. */
export const isReplayable = ({ steps }: VectorCase): boolean =>
  steps.every(({ op }) => op !== SLOW && Object.hasOwn(STEPS, op));

/** What a case has left behind in the kernel. */
export interface Left {
  readonly pinnedPages: number;
  /** Memory objects on the board. */
  readonly attached: number;
  readonly containers: number;
  /** Groups that are open or in a container. */
  readonly groups: number;
}

/** Enough for the page tables of every recording: a case begins the sooner, the less it has. */
const KERNEL_RAM = 4 * 2 ** 20;

/** One case under way: a fresh machine, a fresh process. */
export class InProcessCase {
  readonly profile: Profile;
  readonly parameters: Type1Parameters = { ...DEFAULT_PARAMETERS };
  readonly #recorded: RecordedMachine;
  readonly #devices: ReplayDevices;
  readonly #surroundings: Surroundings;
  readonly #processes: ReplayProcess[] = [];
  readonly #actors = new Map<string, Actor>();
  readonly #main: Actor;

  constructor(file: VectorFile, profile: ProfileName) {
    this.profile = profileOf(profile);
    const { replayOutsideAperture: outsideAperture, writeOnlyIsReadable } = this.profile;
    const machine = new FakeMachine({ driver: { outsideAperture, writeOnlyIsReadable }, kernelRamBytes: KERNEL_RAM });
    const { pinner } = machine;
    this.#recorded = recordedMachine(file);
    this.#devices = new ReplayDevices(this.#recorded, machine, this.profile);
    const vfio = new Vfio({
      profile: this.profile,
      type1: new Type1Driver({ profile: this.profile, pinner, parameters: this.parameters }),
      devices: this.#devices.vfio,
      onContainerGone: () => pinner.trim(),
    });
    this.#surroundings = { machine, vfio };
    this.#main = actorOf(this.#newProcess());
  }

  #newProcess(parent?: ReplayProcess): ReplayProcess {
    const process = new ReplayProcess(1000 + this.#processes.length, this.#surroundings, parent);
    this.#processes.push(process);
    return process;
  }

  actor(name: string | null): Actor {
    if (name === null) return this.#main;
    const actor = this.#actors.get(name);
    if (!actor) throw new VectorError(`no actor ${name}`);
    return actor;
  }

  thread(name: string, process: ReplayProcess): void {
    this.#actors.set(name, actorOf(process));
  }

  /** A process: a fork of `parent`, or without it one that has nothing. */
  start(name: string, parent?: ReplayProcess): void {
    this.thread(name, this.#newProcess(parent));
  }

  /** The answer, as the file writes it. */
  async step(step: VectorStep): Promise<string> {
    const actor = this.actor(step.actor);
    const { process } = actor;
    const { state } = process;
    const perform = STEPS[step.op]!;
    const { devices } = this.#recorded;
    const context = { step, state, words: new Words(state), calls: process, devices, run: this, process };
    if (!step.inBackground) return perform(context);
    actor.answer = undefined;
    actor.running = Promise.resolve(perform(context)).then((text) => {
      actor.answer = text;
    });
    return 'started';
  }

  /** All processes are killed; what is then left is a leak. */
  async close(): Promise<Left> {
    await Promise.all(this.#processes.map((process) => process.exit()));
    await Promise.all([this.#main, ...this.#actors.values()].map(({ running }) => running));
    const { machine, vfio } = this.#surroundings;
    machine.close();
    this.#devices.close();
    return {
      pinnedPages: machine.pinner.pinnedPages,
      attached: machine.board.attached.size,
      containers: vfio.containers.size,
      groups: vfio.groups.filter(({ opened, container }) => opened || container).length,
    };
  }
}

const actorOf = (process: ReplayProcess): Actor => ({ process, running: undefined, answer: undefined });

/** Steps that are no system call on a fd: the made-up process itself, and its actors. */
const PROCESS_STEPS: StepTable<ReplayContext> = {
  mem({ process, words, step: { args } }) {
    process.createMemory(args[0]!, args[1]!, words.count(args[2]!), args[3] ?? 'rw');
    return '0';
  },
  remap({ process, step: { args } }) {
    process.remap(args[0]!, args[1]!);
    return '0';
  },
  munmap({ process, words, step: { args } }) {
    process.tasks.space.unmap(words.count(args[0]!), words.count(args[1]!));
    return '0';
  },
  mprotect({ process, words, step: { args } }) {
    process.tasks.space.protect(words.count(args[0]!), words.count(args[1]!), args[2]!);
    return '0';
  },
  fill({ process, words, step: { args } }) {
    const bytes = new Uint8Array(words.count(args[1]!)).fill(words.count(args[2]!));
    process.tasks.space.write(words.count(args[0]!), bytes);
    return '0';
  },
  peek({ process, words, step: { args } }) {
    return `0 data=${formatBytes(process.tasks.space.peek(words.count(args[0]!), words.count(args[1]!)))}`;
  },
  rlimit({ process, words, step: { args } }) {
    process.tasks.memlockPages =
      args[1] === 'inf' ? Number.POSITIVE_INFINITY : Math.floor(words.count(args[1]!) / PAGE_SIZE);
    return '0';
  },
  setuid({ process }) {
    process.tasks.ipcLock = false;
    return '0';
  },
  status({ process }) {
    return `0 lck=${BigInt.asUintN(64, BigInt(process.tasks.mm.lockedVm) * 4n)}kB pin=0kB`;
  },
  param({ run, words, step: { args } }) {
    return words.status(() => {
      moduleParameter(run.parameters, args[0]!, run.profile)(args[1]!);
      return 0;
    });
  },
  async sleep() {
    await turn();
    return '0';
  },
  async exec({ process, step: { actor } }) {
    await process.exec(actor === null);
    return '0';
  },
  thread({ run, process, step: { args } }) {
    run.thread(args[0]!, process);
    return '0';
  },
  fork({ run, process, step: { args } }) {
    run.start(args[0]!, process);
    return '0';
  },
  process({ run, step: { args } }) {
    run.start(args[0]!);
    return '0';
  },
  pass({ run, process, words, step: { args } }) {
    const [fd, receiver, name] = args as [string, string, string];
    const { process: to } = run.actor(receiver === 'main' ? null : receiver);
    return words.status(() => {
      process.pass(words.fd(fd), to, name);
      return 0;
    });
  },
  /** Whatever can go on does so within two turns of the event loop. */
  async wait({ run, step: { args } }) {
    const actor = run.actor(args[0]!);
    if (!actor.running) return 'idle';
    await turn();
    await turn();
    if (actor.answer === undefined) return 'blocked';
    actor.running = undefined;
    return actor.answer;
  },
  async kill({ run, step: { args } }) {
    void run.actor(args[0]!).process.exit();
    await turn();
    return `0 ended sig=${args[1]}`;
  },
};

const STEPS: StepTable<ReplayContext> = { ...CALL_STEPS, ...PROCESS_STEPS };
