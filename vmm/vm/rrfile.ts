/**
 * The file of a recording: `-icount rr=record|replay,rrfile=FILE`. Its header says which machine
 * was recorded, so that a replay of another one is refused before it runs. Behind the header are
 * the events (vmm/machine/shared/replay/event.ts).
 *
 * The header is "livevmm recording\n", u32 version, u32 length, and so many bytes of MessagePack: a
 * list of facts, each with a name and a value. Numbers are little endian.
 */
import { createHash } from 'node:crypto';
import { constants, fstatSync } from 'node:fs';

import { einval, SysError } from '../../platform/errno.ts';
import { close, lockNow, open, openCreating } from '../../platform/libc/fd.ts';
import { ftruncate, pread } from '../../platform/libc/file-bytes.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import { readRegularFile } from '../../platform/regular-file.ts';
import { defineSection } from '../../platform/section.ts';
import { list, text } from '../../platform/shape.ts';
import { writeAll } from '../../platform/whole-file.ts';
import type { VirtioPart } from '../crew/vcpu/protocol.ts';
import { deviceTree } from '../machine/device-tree.ts';
import type { MachineState } from '../machine/machine.ts';
import { EventLog } from '../machine/shared/replay/log.ts';
import { RECORDING_DESCRIPTION, type RecordingDescription } from '../machine/shared/replay/recording.ts';
import { parseFwCfg } from './fw-cfg-option.ts';
import type { GuestImage } from './guest-image.ts';
import { planIcount, planRecording } from './icount-option.ts';
import { planSemihosting } from './semihosting-option.ts';
import { type Backends, virtioParts } from './virtio-parts.ts';
import { hartsOf, type VmOptions } from './vm-state.ts';

/** There where a guest is recorded or replayed. */
export const RRFILE_SECTION = defineSection('rrfile', 1, { file: RECORDING_DESCRIPTION });

const MAGIC = Buffer.from('livevmm recording\n');
const VERSION = 1;
const PREFIX = MAGIC.length + 8;
/** A header has some facts; more is another file. */
const MOST_HEADER = 1 << 20;

/** Of SHA-256: nobody makes one file look like another on purpose. */
const HASH_DIGITS = 16;

/** What a guest can see of its machine: a name for the user, and the value. */
type Fact = readonly [string, string];
const FACTS = list(list(text, 2));

/**
 * Opens the file that the options name, for a guest that is powered on; undefined: they name none.
 * Errors are one line that names the file. EINVAL: it is no recording, or one of another machine;
 * EBUSY: another VM writes it, or this would write what another reads.
 */
export function openRecording(
  options: VmOptions,
  image: GuestImage,
  backends: Backends,
): RecordingDescription | undefined {
  const plan = planRecording(options);
  if (!plan) return undefined;
  const { mode, path } = plan;
  const facts = factsOf(options, image, backends);
  let fd: number | undefined;
  try {
    fd = mode === 'record' ? openCreating(path, RECORD_FLAGS, 0o666) : open(path, REPLAY_FLAGS);
    if (!fstatSync(fd).isFile()) throw einval('not a regular file');
    const start = mode === 'record' ? writeHeader(fd, facts) : checkHeader(fd, facts);
    return { fd, path, mode, start };
  } catch (error) {
    if (fd !== undefined) close(fd);
    if (!(error instanceof SysError)) throw error;
    throw new SysError(error.code, `-icount rr=${mode}: ${path}: ${error.message}`);
  }
}

const { O_RDWR, O_RDONLY, O_CREAT, O_NONBLOCK } = constants;
const RECORD_FLAGS = O_RDWR | O_CREAT | O_NONBLOCK; // a FIFO makes its opener wait
const REPLAY_FLAGS = O_RDONLY | O_NONBLOCK;

/** What was in the file is gone. */
function writeHeader(fd: number, facts: readonly Fact[]): number {
  if (!lockNow(fd)) throw new SysError('EBUSY', 'another VM uses it');
  ftruncate(fd, 0);
  const body = pack(facts);
  const prefix = Buffer.alloc(PREFIX);
  MAGIC.copy(prefix);
  prefix.writeUInt32LE(VERSION, MAGIC.length);
  prefix.writeUInt32LE(body.length, MAGIC.length + 4);
  writeAll(fd, prefix);
  writeAll(fd, body);
  return PREFIX + body.length;
}

function checkHeader(fd: number, facts: readonly Fact[]): number {
  if (!lockNow(fd, { shared: true })) throw new SysError('EBUSY', 'it is being recorded');
  const prefix = Buffer.alloc(PREFIX);
  const isWhole = pread(fd, prefix, 0) === PREFIX;
  if (!isWhole || !prefix.subarray(0, MAGIC.length).equals(MAGIC)) throw einval('not a recording of livevmm');
  const version = prefix.readUInt32LE(MAGIC.length);
  if (version !== VERSION) throw einval(`a recording of version ${version}, this build knows ${VERSION}`);
  const length = prefix.readUInt32LE(MAGIC.length + 4);
  const body = Buffer.alloc(Math.min(length, MOST_HEADER));
  if (pread(fd, body, PREFIX) < length) throw einval('its header is cut off');
  const recorded = new Map(FACTS(unpack(body), 'header').map(([name, value]) => [name!, value!]));
  for (const [name, value] of facts) {
    const was = recorded.get(name) ?? 'none';
    if (was !== value) throw einval(`it was recorded with another ${name}: ${was}, and this is ${value}`);
  }
  const more = [...recorded.keys()].find((name) => !facts.some(([known]) => known === name));
  if (more !== undefined) throw einval(`it was recorded with ${more}: ${recorded.get(more)}`);
  return PREFIX + length;
}

/** The VM is ended, and stands: its replay ends where the guest does. Errors of write(2). */
export function noteStop({ fd, path }: RecordingDescription, { icount, replay }: MachineState): void {
  if (!icount || !replay || replay.ended) return;
  const log = new EventLog(fd, path, replay);
  const at = { instructions: replay.instructions, ns: icount.ns };
  log.append({ kind: 'stop', port: 0, looking: false, at, bytes: new Uint8Array() });
}

function factsOf(options: VmOptions, image: GuestImage, backends: Backends): readonly Fact[] {
  const { memory, aplic, iommuSys, kernel, initrd, bios, append, fwCfg = [] } = options;
  const { shift, sleep } = planIcount(options)!;
  const semihosting = planSemihosting(options);
  const files = { '-kernel': kernel, '-initrd': initrd, '-bios': isPath(bios) ? bios : undefined };
  return [
    ['-m', `${memory} bytes`],
    ['-smp', `${hartsOf(options)}`],
    ['-machine', [image.aia, aplic, iommuSys].map((each) => each ?? 'off').join(' ')],
    ['-icount', `shift=${shift},sleep=${sleep ? 'on' : 'off'}`],
    ...Object.entries(files).flatMap(([name, path]): Fact[] => (path === undefined ? [] : [[name, hashOf(path)]])),
    ...(append === undefined ? [] : [['-append', append] as const]),
    ...parseFwCfg(fwCfg).map((file): Fact => {
      return [`-fw_cfg ${file.name}`, 'path' in file ? hashOf(file.path) : file.text];
    }),
    ...(semihosting ? [['-semihosting', JSON.stringify(semihosting)] as const] : []),
    ...virtioParts(options, backends).map((part, i): Fact => [`virtio device ${i}`, describe(part)]),
    ['memory at power-on', hashOfMemory(image)],
  ];
}

const isPath = (bios: string | undefined): boolean => bios !== undefined && bios !== 'default' && bios !== 'none';

const sha256 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, HASH_DIGITS);
};

const hashOf = (path: string): string => sha256(readRegularFile(path));

/** Our own firmware, and how the guest's parts are laid out, belong to it. */
const hashOfMemory = ({ entry, next, segments, tree }: GuestImage): string =>
  sha256(
    `${entry} ${next}`,
    ...segments.flatMap(({ gpa, memorySize, bytes }) => [` ${gpa} ${memorySize} `, bytes]),
    deviceTree(tree),
  );

function describe(part: VirtioPart): string {
  const { transport, kind, iommuPlatform = false, vectors = 'usual' } = part;
  const unit = `${kind} ${transport} iommu_platform=${iommuPlatform} vectors=${vectors}`;
  switch (part.kind) {
    case 'blk': {
      const { size, readOnly, cache, serial } = part.disk;
      return `${unit} ${size} bytes readonly=${readOnly} cache=${cache} serial=${serial}`;
    }
    case 'net':
      return `${unit} mac=${Buffer.from(part.mac).toString('hex')}`;
    case '9p':
      return `${unit} mount_tag=${part.tag}`;
    default:
      return unit;
  }
}
