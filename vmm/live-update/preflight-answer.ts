/**
 * Preflight, the successor's side. This build's own code decodes every section of the manifest. The
 * other things that this build needs are tried for real.
 */
import * as zlib from 'node:zlib';

import { SysError } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { getRlimit, RLIMIT_NOFILE } from '../../platform/libc/other-process.ts';
import { gettid } from '../../platform/libc/this-process.ts';
import { createMemory } from '../../platform/memory.ts';
import { VERSION } from '../../platform/version.ts';
import { readWhole } from '../../platform/whole-file.ts';
import { mapRam, ramPart } from '../vm/guest-ram.ts';
import { optionsIn } from './decoded-state.ts';
import { decodeManifest, type Manifest } from './manifest.ts';
import type { Check, PreflightReport, SectionVerdict } from './preflight-report.ts';
import { STANDBY_PROTOCOL } from './standby/protocol.ts';
import { STATE_FORM } from './state-file.ts';
import { SURVIVORS, type Survivor, survivorsOf } from './survivors.ts';
import { limitTime } from './time-limit.ts';

/** Fds beside the inherited ones: those of the state, the snapshot, Node itself, two threads. */
const FDS_OF_OUR_OWN = 40;
/** A thread is ready within 0.1 s of the process' own time. */
const THREAD = { ownMs: 5000, allMs: 50_000 };

/**
 * `firstLineNs` is the time of this program's first line. EINVAL: `fd` does not contain a manifest.
 */
export async function answerPreflight(fd: number, firstLineNs: number): Promise<PreflightReport> {
  const manifest = decodeManifest(readWhole(fd));
  return {
    version: VERSION,
    node: process.version,
    standby: STANDBY_PROTOCOL,
    firstLineNs,
    sections: judge(manifest),
    checks: [
      await check('node', () => {
        if (typeof zlib.crc32 !== 'function') throw new Error(`${process.version} is too old`);
      }),
      await check('foreign functions', () => {
        if (gettid() !== process.pid) throw new Error('koffi gives wrong answers');
      }),
      await check('state file', () => {
        const { magic, format } = manifest.file;
        if (magic !== STATE_FORM.magic) throw new Error('it does not begin as this build knows it');
        if (format !== STATE_FORM.format) throw new Error(`format ${format}, this build knows ${STATE_FORM.format}`);
      }),
      await check('file descriptors', () => {
        const soft = Number(getRlimit(0, RLIMIT_NOFILE).soft);
        const needed = manifest.fds + FDS_OF_OUR_OWN;
        if (soft < needed) throw new Error(`the limit is ${soft}, and ${needed} are needed`);
      }),
      await check('memory and threads', () => tryThread(manifest.memory)),
    ],
  };
}

function judge({ sections }: Manifest): SectionVerdict[] {
  const saved = new Map(sections.map((section) => [section.name, section]));
  const known = expected(sections).map(({ section }): SectionVerdict => {
    const { name, version } = section;
    const entry = saved.get(name);
    if (!entry) return { name, verdict: 'refused', reason: `section ${name}: missing` };
    try {
      if (entry.body) section.decode(entry.body);
      else if (!section.reads(entry.version)) section.decode({ version: entry.version }); // throws
      if (entry.version === version) return { name, verdict: 'same' };
      return { name, verdict: 'converted', reason: `version ${entry.version} becomes version ${version}` };
    } catch (error) {
      return { name, verdict: 'refused', reason: (error as Error).message };
    }
  });
  const names = new Set(known.map(({ name }) => name));
  const lost = sections.filter(({ name }) => !names.has(name));
  return [
    ...known,
    ...lost.map(
      ({ name }): SectionVerdict => ({ name, verdict: 'lost', reason: `section ${name}: this build does not know it` }),
    ),
  ];
}

/** The survivors of the VM that offers these sections; all, if it cannot be read what VM it is. */
function expected(sections: Manifest['sections']): readonly Survivor[] {
  try {
    return survivorsOf(optionsIn(new Map(sections.map(({ name, body }) => [name, body]))));
  } catch {
    return SURVIVORS; // the verdict about section vm says why
  }
}

async function check(what: string, work: () => void | Promise<void>): Promise<Check> {
  try {
    await work();
    return { what, ok: true };
  } catch (error) {
    const { message, stack } = error as Error;
    return { what, ok: false, reason: error instanceof SysError ? message : message || (stack ?? 'no reason') };
  }
}

/**
 * Maps as much memory as the guest has, and starts a vCPU thread over it. The thread ends when it
 * is ready.
 */
async function tryThread(memory: number): Promise<void> {
  const { VcpuThread } = await import('../crew/vcpu/thread.ts');
  const { startVcpuThread } = await import('../crew/threads.ts');
  const { createVmShared } = await import('../crew/vm-shared.ts');
  const fd = createMemory('preflight-ram', memory);
  const ram = mapRam(fd, memory, 1);
  close(fd);
  const vcpu = new VcpuThread(createVmShared(1));
  const ready = new Promise<void>((resolve, reject) => {
    const late = (): void => reject(new Error(`no thread within ${THREAD.ownMs / 1000} s`));
    const inTime = limitTime(process.pid, THREAD, late);
    vcpu.listen((message) => {
      inTime();
      if (message.kind === 'failed') reject(new Error(message.reason.split('\n')[0]));
      else resolve();
    });
  });
  const worker = startVcpuThread(vcpu, { ram: ramPart(ram), entry: 0, devices: [] });
  try {
    await ready;
  } finally {
    await worker.terminate();
  }
}
