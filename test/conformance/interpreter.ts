/**
 * Replays vector cases in one process against type1, with made-up processes: memory, containers, groups, DMA of edu, emulated
 * devices. A case that needs more than that (BARs, interrupts, config space) is not for here.
 */
import { setImmediate as turn } from 'node:timers/promises';
import {
  DmaMap,
  DmaUnmap,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../iommu/abi/vfio.ts';
import { type Profile, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../iommu/kernel/core/user-arg.ts';
import type { Type1Parameters } from '../../iommu/kernel/vfio/type1/iommu.ts';
import { moduleParameter } from '../../iommu/kernel/vfio/type1/module-parameters.ts';
import { type Type1, Type1Driver } from '../../iommu/kernel/vfio/type1/type1.ts';
import { einval, enodev, SysError } from '../../platform/errno.ts';
import { evaluate, formatBytes } from '../../tools/conform/notation.ts';
import { type VectorCase, VectorError, type VectorFile, type VectorStep } from '../../tools/conform/vector-file.ts';
import { FakeMachine, type FakeProcess } from '../iommu/kernel/vfio/type1/machine.ts';
import { type Actor, Actors } from './actors.ts';
import { Container, type Device, Files, Group, type OpenFile } from './core.ts';
import { Edu } from './edu.ts';
import { EmulatedDevice } from './emulated-device.ts';

/** Bytes a step does not set. */
const UNSET = 0xee;
const PAGE = 4096;
/** As much of what it read as emu_rw shows. */
const SHOWN_BYTES = 2048;
/** Pages of a step's struct buffer: more than any answer. */
const STRUCT_BYTES = 4096;

/** Whether every operation of a case can be replayed here. */
export const isReplayable = ({ steps }: VectorCase): boolean => steps.every(isStepReplayable);

function isStepReplayable({ op, args, options }: VectorStep): boolean {
  if (op === 'pread' || op === 'pwrite') return args[1] === '7:0x4';
  if (op === 'group_status') return Object.keys(options).length === 0;
  return Object.hasOwn(InProcessCase.operations, op);
}

type Operation = (run: InProcessCase, step: VectorStep, actor: Actor) => string | Promise<string>;

/** One case under way: a fresh machine, a fresh process. */
export class InProcessCase {
  readonly profile: Profile;
  readonly machine: FakeMachine;
  readonly actors: Actors;
  readonly files: Files;
  readonly driver: Type1Driver;
  readonly parameters: Type1Parameters = { dmaEntryLimit: 65535, allowUnsafeInterrupts: false };
  readonly groups = new Map<string, Group>();
  readonly edus = new Map<string, Edu>();
  readonly emulated = new Map<string, EmulatedDevice>();

  constructor(file: VectorFile, profile: ProfileName) {
    this.profile = profileOf(profile);
    this.machine = new FakeMachine({ driver: { outsideAperture: this.profile.replayOutsideAperture } });
    this.actors = new Actors(this.machine);
    this.driver = new Type1Driver({ profile: this.profile, pinner: this.machine.pinner, parameters: this.parameters });
    this.files = new Files((target) => this.#lastClose(target));
    for (const { name, bdf, group: id } of file.devices) {
      const isEmulated = name.startsWith('emu');
      const edu = new Edu(isEmulated ? '0000:00:00.0' : bdf);
      const group = isEmulated ? { id, dids: [] } : { id, dids: [edu.did], driver: this.machine.driver };
      this.groups.set(name, new Group(group));
      if (isEmulated) this.emulated.set(name, new EmulatedDevice(group));
      else this.edus.set(name, edu);
    }
  }

  #lastClose(target: OpenFile['target']): void {
    if (target.kind === 'container') {
      target.type1?.containerClosed();
    } else if (target.kind === 'group') {
      target.opened = false;
      target.closed();
    } else {
      this.emulated.get(target.name)?.close();
      const edu = this.edus.get(target.name);
      if (edu) edu.busMaster = false; // PCI-9
      target.group.nrDevices--;
      target.group.closed();
    }
  }

  /** The answer, as the file writes it. */
  async step(step: VectorStep): Promise<string> {
    const actor = this.actors.get(step.actor ?? undefined);
    const operation = InProcessCase.operations[step.op];
    if (!operation) throw new VectorError(`${step.op} cannot be replayed in process`);
    if (!step.inBackground) return await answer(() => operation(this, step, actor));
    actor.answer = undefined;
    actor.running = answer(() => operation(this, step, actor)).then((text) => {
      actor.answer = text;
    });
    return 'started';
  }

  number(text: string | undefined): bigint {
    if (text === undefined) throw new VectorError('an argument is missing');
    return evaluate(text, (name) => this.actors.symbols.get(name));
  }

  int(text: string | undefined): number {
    return Number(this.number(text));
  }

  /** All processes end; what is then still pinned, or attached to the board, has leaked. */
  close(): { readonly pinnedPages: number; readonly attached: number } {
    this.files.exitAll();
    const { pinner, board } = this.machine;
    this.machine.close();
    return { pinnedPages: pinner.pinnedPages, attached: board.attached.size };
  }

  static readonly operations: Readonly<Record<string, Operation>> = {
    container: ({ files }, { args }, { process }) => {
      files.open(process, args[0]!, new Container());
      return '0';
    },
    group: ({ files, groups }, { args }, { process }) => {
      const group = groups.get(args[1]!)!;
      if (!process.ipcLock) throw new SysError('EACCES', "the node is root's");
      if (group.opened || group.nrDevices > 0) throw new SysError('EBUSY', 'group is open');
      group.opened = true;
      files.open(process, args[0]!, group);
      return '0';
    },
    set_container: async ({ files }, { args }, { process }) => {
      await files.group(process, args[0]!).setContainer(files.container(process, args[1]!), process.task());
      return '0';
    },
    unset_container: ({ files }, { args }, { process }) => {
      files.group(process, args[0]!).unsetContainer();
      return '0';
    },
    set_iommu: async (run, { args }, { process }) => {
      await run.files.container(process, args[0]!).setIommu(run.driver, run.int(args[1]), process.task());
      return '0';
    },
    check: (run, { args }, { process }) => {
      const { type1 } = run.files.container(process, args[0]!);
      return String((type1 ?? run.driver).checkExtension(run.int(args[1])));
    },
    device: (run, { args }, { process }) => {
      const group = run.files.group(process, args[1]!);
      if (run.groups.get(args[2]!) !== group) throw enodev('no such device in the group');
      const type1 = group.container?.type1;
      if (!type1) throw einval('no container with an IOMMU');
      const device: Device = { kind: 'device', name: args[2]!, group };
      run.files.open(process, args[0]!, device, true);
      if (group.nrDevices++ === 0) run.emulated.get(device.name)?.open(type1);
      return '0';
    },
    close: ({ files }, { args }, { process }) => {
      files.close(process, args[0]!);
      return '0';
    },
    dup: ({ files }, { args }, { process }) => {
      files.dup(process, args[0]!, args[1]!);
      return '0';
    },
    cloexec: ({ files }, { args }, { process }) => {
      files.setCloexec(process, args[0]!, args[1] === '1');
      return '0';
    },
    param: (run, { args }) => {
      moduleParameter(run.parameters, args[0]!, run.profile)(args[1]!);
      return '0';
    },
    map: (run, step, { process }) => {
      const struct = structOf(run, step, ['argsz', 'flags', 'vaddr', 'iova', 'size'], { argsz: DmaMap.size });
      return ioctl(run, { process, step, struct, nr: VFIO_IOMMU_MAP_DMA, least: DmaMap.size });
    },
    unmap: (run, step, { process }) =>
      withBitmap(run, step, process, (bitmap) => {
        const struct = structOf(run, step, ['argsz', 'flags', 'iova', 'size', 'pgsize', 'bsize', 'bitmap'], {
          argsz: DmaUnmap.size,
          bitmap,
        });
        return ioctl(run, { process, step, struct, nr: VFIO_IOMMU_UNMAP_DMA, least: DmaUnmap.size });
      }),
    dirty: (run, step, { process }) =>
      withBitmap(run, step, process, (bitmap) => {
        const fields = ['argsz', 'flags', 'iova', 'size', 'pgsize', 'bsize', 'bitmap'];
        const struct = structOf(run, step, fields, { argsz: 8, bitmap });
        return ioctl(run, { process, step, struct, nr: VFIO_IOMMU_DIRTY_PAGES, least: 0 });
      }),
    info: (run, step, { process }) => {
      const struct = structOf(run, step, ['argsz'], {});
      return ioctl(run, { process, step, struct, nr: VFIO_IOMMU_GET_INFO, least: 0 });
    },
    group_status: ({ files }, { args }, { process }) => {
      const { container } = files.group(process, args[0]!);
      return `0 out=080000000${container ? 3 : 1}000000`;
    },
    mem: (run, { args }, { process }) => {
      run.actors.memory(process, args[0]!, args[1]!, run.int(args[2]), args[3]);
      return '0';
    },
    remap: ({ actors }, { args }, { process }) => {
      actors.remap(process, args[0]!, args[1]!);
      return '0';
    },
    munmap: (run, { args }, { process }) => {
      process.space.unmap(run.int(args[0]), run.int(args[1]));
      return '0';
    },
    mprotect: (run, { args }, { process }) => {
      process.space.protect(run.int(args[0]), run.int(args[1]), args[2]!);
      return '0';
    },
    fill: (run, { args }, { process }) => {
      process.space.write(run.int(args[0]), new Uint8Array(run.int(args[1])).fill(run.int(args[2])));
      return '0';
    },
    peek: (run, { args }, { process }) =>
      `0 data=${formatBytes(process.space.peek(run.int(args[0]), run.int(args[1])))}`,
    rlimit: (run, { args }, { process }) => {
      process.memlockPages = args[1] === 'inf' ? Number.POSITIVE_INFINITY : Math.floor(run.int(args[1]) / PAGE);
      return '0';
    },
    setuid: (_run, _step, { process }) => {
      process.ipcLock = false;
      return '0';
    },
    status: (_run, _step, { process }) => {
      const lockedKiB = BigInt.asUintN(64, BigInt(process.mm.lockedVm) * 4n);
      return `0 lck=${lockedKiB}kB pin=0kB`;
    },
    sleep: async () => {
      await turn();
      return '0';
    },
    exec: ({ files, actors }, { actor }, { process }) => {
      files.exec(process);
      if (actor === null) process.exec();
      else files.move(process, actors.execByThread());
      actors.symbols.clear();
      return '0';
    },
    thread: ({ actors }, { args }) => {
      actors.thread(args[0]!);
      return '0';
    },
    fork: ({ actors, files }, { args }, { process }) => {
      actors.fork(args[0]!);
      files.fork(process, actors.get(args[0]).process);
      return '0';
    },
    wait: async ({ actors }, { args }) => {
      const actor = actors.get(args[0]);
      if (!actor.running) return 'idle';
      await turn();
      await turn();
      if (actor.answer === undefined) return 'blocked';
      actor.running = undefined;
      return actor.answer;
    },
    kill: ({ actors, files }, { args }) => {
      const { process } = actors.get(args[0]);
      process.exit();
      files.exit(process);
      return `0 ended sig=${args[1]}`;
    },
    pread: ({ files, edus }, { args }, { process }) => {
      const edu = edus.get(files.device(process, args[0]!).name)!;
      return `2 data=0${edu.busMaster ? 7 : 3}01`;
    },
    pwrite: (run, { args }, { process }) => {
      const edu = run.edus.get(run.files.device(process, args[0]!).name)!;
      edu.busMaster = (Number.parseInt(args[2]!.slice(0, 2), 16) & 4) !== 0;
      return '2';
    },
    edu_dma: (run, { args }, { process }) => {
      const edu = run.edus.get(run.files.device(process, args[0]!).name)!;
      const [src, dst] = [run.number(args[1]), run.number(args[2])];
      edu.dma(run.machine.port(edu.did), { src, dst, count: run.int(args[3]), command: run.int(args[4]) });
      return '0';
    },
    emu_pin: async (run, { args }, { process }) => {
      const device = run.emulated.get(run.files.device(process, args[0]!).name)!;
      return String(await device.pin(run.number(args[1]), run.int(args[2]), run.int(args[3]), process.task()));
    },
    emu_unpin: (run, { args }, { process }) => {
      run.emulated.get(run.files.device(process, args[0]!).name)!.unpin(run.number(args[1]), run.int(args[2]));
      return '0';
    },
    emu_rw: async (run, { args }, { process }) => {
      const device = run.emulated.get(run.files.device(process, args[0]!).name)!;
      const write = args[3] !== 'r';
      const data = new Uint8Array(run.int(args[2])).fill(write ? run.int(args[3]) : 0);
      await device.rw(run.number(args[1]), data, write, process.task());
      return write ? '0' : `0 data=${formatBytes(data.subarray(0, SHOWN_BYTES))}`;
    },
    emu_log: (run, { args }, { process }) =>
      `0 log=${run.emulated.get(run.files.device(process, args[0]!).name)!.takeLog()}`,
  };
}

/** The text of an answer: an errno is `-NAME`. */
async function answer(operation: () => string | Promise<string>): Promise<string> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof SysError) return `-${error.code}`;
    throw error;
  }
}

const WIDTH: Readonly<Record<string, 4 | 8>> = { argsz: 4, flags: 4 };

/** The bytes of a step's struct: its options one after the other, UNSET where there is none. */
function structOf(
  run: InProcessCase,
  { options }: VectorStep,
  fields: readonly string[],
  defaults: Readonly<Record<string, bigint | number | undefined>>,
): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES).fill(UNSET);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const field of fields) {
    const width = WIDTH[field] ?? 8;
    const isPlain = options[field] !== undefined && !options[field].startsWith('buf:');
    const value = isPlain ? run.number(options[field]) : defaults[field];
    if (value !== undefined && width === 4) view.setUint32(at, Number(BigInt.asUintN(32, BigInt(value))), true);
    else if (value !== undefined) view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}

interface Call {
  readonly process: FakeProcess;
  readonly step: VectorStep;
  readonly struct: Uint8Array;
  readonly nr: number;
  /** Bytes that `out` has at least, if anything was changed. */
  readonly least: number;
}

async function ioctl(run: InProcessCase, { process, step, struct, nr, least }: Call): Promise<string> {
  const { type1 } = run.files.container(process, step.args[0]!);
  const avail = step.options.avail;
  const arg = new UserArg(struct.slice(0, avail === undefined ? undefined : run.int(avail))); // which it writes into
  const status = await answer(async () => String(await driverIoctl(type1, nr, arg, process)));
  const output = arg.output() ?? new Uint8Array(0);
  let changed = output.length;
  while (changed > 0 && output[changed - 1] === struct[changed - 1]) changed--;
  if (changed === 0) return status;
  const after = struct.slice();
  after.set(output);
  return `${status} out=${Buffer.from(after.subarray(0, Math.max(changed, least))).toString('hex')}`;
}

function driverIoctl(
  type1: Type1 | undefined,
  nr: number,
  arg: UserArg,
  process: FakeProcess,
): number | Promise<number> {
  if (!type1) throw einval('no IOMMU driver');
  return type1.ioctl(nr, arg, process.task());
}

/** `bitmap=buf:N`: a buffer of N bytes that ends where memory ends; what it holds afterwards is part of the answer. */
async function withBitmap(
  run: InProcessCase,
  { options }: VectorStep,
  process: FakeProcess,
  call: (vaddr: number | undefined) => Promise<string>,
): Promise<string> {
  const match = /^buf:(\d+)$/.exec(options.bitmap ?? '');
  if (!match) return await call(undefined);
  const length = Number(match[1]);
  const object = run.machine.object(PAGE);
  const end = process.space.map(object) + PAGE;
  const vaddr = end - length;
  process.space.write(vaddr, new Uint8Array(length).fill(Number(options.bmfill ?? 0)));
  const status = await call(vaddr);
  const text = `${status} bm=${formatBytes(process.space.peek(vaddr, length))}`;
  process.space.unmap(end - PAGE, PAGE);
  return text;
}
