/**
 * An exec update, the new image's side (DESIGN §2): find the state → map RAM → update vaddrs → each owner loads its section →
 * resume. The vCPU thread was started before this file was loaded: its start takes longest. There is no way back from here: an
 * error ends the process, and its message names the section.
 */
import { fstatSync, readSync } from 'node:fs';

import { monotonicNs } from '../../platform/clock.ts';
import { einval } from '../../platform/errno.ts';
import { close, setCloexec } from '../../platform/libc.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { Console } from '../console.ts';
import type { JsonObject } from '../monitor/qmp.ts';
import type { MonitorState } from '../monitor/state.ts';
import type { VcpuThread } from '../vcpu/thread.ts';
import { connectTask } from '../vfio/client.ts';
import { PassthroughHost } from '../vfio/passthrough-host.ts';
import { Vm } from '../vm.ts';
import { phasesMs } from './phases.ts';
import { type RamState, type Sections, takeSections } from './sections.ts';
import { decodeState, type StateFile } from './state-file.ts';

export interface Resumed {
  readonly vm: Vm;
  readonly monitor: MonitorState;
  /** The content of the LIVE_UPDATE event. */
  readonly report: JsonObject;
}

/** Takes the guest over from the image before; when it returns the guest runs. EINVAL names the section that cannot be loaded. */
export async function takeOver(stateFd: number, vcpu: VcpuThread, firstLine: number): Promise<Resumed> {
  const state = readState(stateFd);
  const sections = takeSections(state);
  claimFds(sections.update.fds);
  const { options, entry, generation, paused } = sections.vm;

  const { ram, ramFd } = mapRam(sections.ram, options.inject === 'wrong-memfd');
  const mapped = monotonicNs();

  const host = resumeHost(sections);
  const console = new Console(vcpu.shared, sections.console.input);
  const runState = paused ? 'paused' : 'running';
  const vm = new Vm({ options, vcpu, ramFd, ram, console, generation: generation + 1, entry, runState, ...host });
  for (const route of sections.routes.routes) vm.routes.add(route);
  vm.imsic.restore(sections.imsic);
  const loaded = whenLoaded(vcpu);
  vcpu.setUp({
    ram: ram.buffer,
    entry,
    devices: sections.vfio.devices.map(({ description }) => description),
    state: { vcpu: sections.vcpu, hart: sections.hart, clint: sections.clint, uart: sections.uart, pci: sections.pci },
    ...(host.host ? { channel: connectTask(host.host.client.socketPath) } : {}),
  });
  host.host?.container.updateVaddrs(ram.vaddr);
  const remapped = monotonicNs();

  const running = await Promise.race([vm.unquiesce(), vm.ended.then(() => undefined)]);
  vm.startInterrupts();
  const loadedNs = Math.max(remapped, await loaded);
  const pauseEndNs = running ?? loadedNs;
  const { stamps } = sections.update;
  const fresh = {
    execve: state.execNs,
    nodeStart: nodeStartNs(),
    firstLine,
    mapped,
    remapped,
    loaded: loadedNs,
    running: pauseEndNs,
  };
  const report = {
    status: 'completed',
    generation: generation + 1,
    pid: process.pid,
    vaddrOld: hexVaddr(sections.ram.vaddrOld),
    vaddrNew: hexVaddr(ram.vaddr),
    pauseMs: Math.round((pauseEndNs - stamps.begin) / 1e3) / 1e3,
    phasesMs: { ...phasesMs(stamps, fresh) },
    pauseStartNs: stamps.begin,
    pauseEndNs,
  };
  return { vm, monitor: sections.monitor, report };
}

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

function resumeHost({ vm, vfio }: Sections): { host?: PassthroughHost } {
  if (!vfio.container) return {};
  if (vm.options.host === undefined) throw einval('section vfio: a container, but section vm names no host');
  return { host: PassthroughHost.resume(vm.options.host, vfio.container, vfio.devices) };
}

function whenLoaded(vcpu: VcpuThread): Promise<number> {
  return new Promise((resolve) => {
    vcpu.listen((message) => {
      if (message.kind === 'loaded') resolve(message.atNs);
    });
  });
}
