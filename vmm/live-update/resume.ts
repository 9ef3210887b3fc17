/**
 * An exec update, the new image's side (docs/DESIGN.md, "Three lifetimes"): find the state → map
 * RAM → update vaddrs → each owner loads its section → main runs the guest → its threads take over
 * (hand-over.ts). There is no way back from here: an error ends the process, and its message names
 * the section. What the guest's next instruction does not need is not loaded before it.
 */
import { fstatSync, readSync } from 'node:fs';
import { setImmediate as nextSlice } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { einval } from '../../platform/errno.ts';
import { close, setCloexec } from '../../platform/libc.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { InterruptThread } from '../crew/interrupts/thread.ts';
import { MainSlices } from '../crew/main-slices.ts';
import { VcpuThread } from '../crew/vcpu/thread.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { MonitorState } from '../monitor/state.ts';
import { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { Console } from '../vm/console.ts';
import { Vm, type VmParts } from '../vm/vm.ts';
import type { HandOver } from './hand-over.ts';
import { phasesMs } from './phases.ts';
import { type RamState, type Sections, type Takeback, takeSections } from './sections.ts';
import { decodeState, type StateFile } from './state-file.ts';

export interface Resumed {
  readonly vm: Vm;
  readonly monitor: MonitorState;
  /** The content of the LIVE_UPDATE event, when the guest's threads have taken over. */
  readonly report: Promise<JsonObject>;
}

/** Takes the guest over from the image before; when it returns the guest runs. EINVAL names the section that cannot be loaded. */
export async function takeOver(stateFd: number, firstLine: number): Promise<Resumed> {
  const state = readState(stateFd);
  const sections = takeSections(state);
  claimFds(sections.update.fds);
  const { options } = sections.vm;
  const { ram, ramFd } = mapRam(sections.ram, options.inject === 'wrong-memfd');
  const mapped = monotonicNs();

  const host = resumeHost(sections);
  host?.container.updateVaddrs(ram.vaddr);
  const remapped = monotonicNs();

  const vm = loadVm(sections, { ram, ramFd, ...(host ? { host } : {}) });
  const slices = new MainSlices(vm, sections);
  const loaded = monotonicNs();

  const unquiesced = vm.unquiesce();
  slices.turn();
  const running = (await Promise.race([unquiesced, vm.ended.then(() => undefined)])) ?? loaded;

  const { stamps, takeback } = sections.update;
  const { execNs: execve } = state;
  const fresh = { execve, nodeStart: nodeStartNs(), firstLine, mapped, remapped, loaded, running };
  const pause = {
    status: 'completed',
    generation: vm.parts.generation,
    pid: process.pid,
    vaddrOld: hexVaddr(sections.ram.vaddrOld),
    vaddrNew: hexVaddr(ram.vaddr),
    pauseMs: roundedMs(running - stamps.begin),
    phasesMs: { ...phasesMs(stamps, fresh) },
    pauseStartNs: stamps.begin,
    pauseEndNs: running,
  };
  const { snapshot } = sections.update.fds;
  if (snapshot !== undefined) close(snapshot);
  const report = settle(vm, slices).then(({ lastNs, firstNs, longestGapNs }) => ({
    ...pause,
    ...(takeback ? { takeback: takebackMs(takeback, stamps.begin) } : {}),
    handover: {
      afterMs: roundedMs(lastNs - running),
      gapMs: roundedMs(firstNs - lastNs),
      longestGapMs: roundedMs(longestGapNs),
    },
  }));
  return { vm, monitor: sections.monitor, report };
}

async function settle(vm: Vm, slices: MainSlices): Promise<HandOver> {
  await nextSlice();
  const { handOver } = await import('./hand-over.ts');
  return handOver(vm, slices);
}

/** The VM of the sections, at rest. */
function loadVm(sections: Sections, own: Pick<VmParts, 'ram' | 'ramFd' | 'host'>): Vm {
  const { options, entry, generation, paused } = sections.vm;
  const vcpu = new VcpuThread();
  const vm = new Vm({
    ...own,
    options,
    vcpu,
    ...(own.host ? { interrupts: new InterruptThread(vcpu.shared, own.host.container.fd) } : {}),
    console: new Console(vcpu.shared, sections.console.input),
    generation: generation + 1,
    entry,
    runState: paused ? 'paused' : 'running',
  });
  for (const route of sections.routes.routes) vm.routes.add(route);
  vm.imsic.restore(sections.imsic);
  return vm;
}

function takebackMs({ atNs, gapNs, longestGapNs }: Takeback, pauseStartNs: number): JsonObject {
  const beforeMs = roundedMs(pauseStartNs - atNs);
  return { beforeMs, gapMs: roundedMs(gapNs), longestGapMs: roundedMs(longestGapNs) };
}

const roundedMs = (ns: number): number => Math.round(ns / 1e3) / 1e3;

/** CLOCK_MONOTONIC when Node began in this image: performance's origin, read when nothing came in between. */
function nodeStartNs(): number {
  let best = { took: Number.POSITIVE_INFINITY, start: 0 };
  for (let i = 0; i < 5; i++) {
    const before = monotonicNs();
    const sinceStart = performance.now() * 1e6;
    const took = monotonicNs() - before;
    if (took < best.took) best = { took, start: before - sinceStart };
  }
  return best.start;
}

const hexVaddr = (vaddr: number): string => `0x${vaddr.toString(16)}`;

function readState(fd: number): StateFile {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  close(fd);
  return decodeState(bytes);
}

/** Every fd that was handed over belongs to this image now, and would not survive an exec by accident. */
function claimFds(fds: Readonly<Record<string, number>>): void {
  for (const [name, fd] of Object.entries(fds)) {
    try {
      setCloexec(fd, true);
    } catch {
      throw einval(`section update: fd ${fd} (${name}) is not open`);
    }
  }
}

/**
 * Guest RAM at another vaddr than before: it must not matter where it lies, so it never lies where it lay.
 * `wrong` is the injected defect: memory that is not the guest's.
 */
function mapRam({ fd, size, vaddrOld }: RamState, wrong: boolean): { ram: Mapping; ramFd: number } {
  const ramFd = wrong ? createMemory('wrong-memfd', size) : fd;
  if (fstatSync(ramFd).size !== size) throw einval(`section ram: the memory object is not ${size} bytes long`);
  const ram = new Mapping(ramFd, size);
  if (ram.vaddr !== vaddrOld) return { ram, ramFd };
  const elsewhere = new Mapping(ramFd, size);
  ram.release();
  return { ram: elsewhere, ramFd };
}

function resumeHost({ vm, vfio }: Sections): PassthroughHost | undefined {
  if (!vfio.container) return undefined;
  if (vm.options.host === undefined) throw einval('section vfio: a container, but section vm names no host');
  return PassthroughHost.resume(vm.options.host, vfio.container, vfio.devices);
}
