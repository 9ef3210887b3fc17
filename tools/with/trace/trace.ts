/** A line for each of the program's VFIO calls, in the notation of strace(1). */
import { VFIO_PCI_OFFSET_SHIFT } from '../../../iommu/abi/vfio.ts';
import type { IoctlRequest, Reply } from '../../../iommu/abi/wire.ts';
import { errnoName } from '../../../platform/errno.ts';
import { rulesOf } from '../../conform/rules.ts';
import type { CallName } from '../filter/call-numbers.ts';
import type { Notes } from './notes.ts';
import { argumentText } from './structs.ts';

const REGIONS = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'config', 'VGA'];
const MAX_BYTES = 16;

/** The operation of tools/conform/rules.ts that an ioctl is. */
const OPERATIONS: Readonly<Record<string, string>> = {
  VFIO_CHECK_EXTENSION: 'check',
  VFIO_SET_IOMMU: 'set_iommu',
  VFIO_GROUP_SET_CONTAINER: 'set_container',
  VFIO_GROUP_UNSET_CONTAINER: 'unset_container',
  VFIO_GROUP_GET_STATUS: 'group_status',
  VFIO_GROUP_GET_DEVICE_FD: 'device',
  VFIO_IOMMU_GET_INFO: 'info',
  VFIO_IOMMU_MAP_DMA: 'map',
  VFIO_IOMMU_UNMAP_DMA: 'unmap',
  VFIO_IOMMU_DIRTY_PAGES: 'dirty',
  VFIO_DEVICE_GET_INFO: 'dev_info',
  VFIO_DEVICE_GET_REGION_INFO: 'region_info',
  VFIO_DEVICE_GET_IRQ_INFO: 'irq_info',
  VFIO_DEVICE_SET_IRQS: 'set_irqs',
  VFIO_DEVICE_RESET: 'reset',
  VFIO_DEVICE_PCI_HOT_RESET: 'hot_reset',
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: 'hot_reset_info',
};

/** A call that is over. */
export interface OverCall {
  readonly tid: number;
  /** What the program gets: a result ≥ 0, or −errno. */
  readonly result: number;
  readonly microseconds: number;
  readonly notes: Notes;
}

/** Undefined for a call that was none of VFIO's. */
export function traceLine(name: CallName, { tid, result, microseconds, notes }: OverCall): string | undefined {
  if (!isVfioCall({ notes })) return undefined;
  const said = saidOf(name, notes);
  return `${tid} ${said.text} = ${resultText(result, notes, said)} <${microseconds.toFixed(0)} us>`;
}

/** A call on a file or a path of the emulated kernel. */
export function isVfioCall({ notes: { path, asked } }: Pick<OverCall, 'notes'>): boolean {
  const last = asked.at(-1);
  return path !== undefined || (last !== undefined && !last.reply.foreign);
}

/** A call as text, without its result. */
export const saidOf = (name: CallName, { path, asked }: Notes): Said =>
  path === undefined ? requestText(name, asked) : { text: `${name}("${path}")` };

export interface Said {
  readonly text: string;
  /** For rulesOf(). */
  readonly operation?: string;
}

function requestText(name: CallName, asked: Notes['asked']): Said {
  const { request, reply } = asked[0]!;
  switch (request.op) {
    case 'ioctl':
      return ioctlText(request, reply);
    case 'pread':
    case 'pwrite':
      return {
        text: `${name}(${request.fd}, ${piecesText(asked)}, ${placeText(request.offset)})`,
        operation: request.op,
      };
    case 'mmap':
      return { text: `mmap(${request.length}, ${request.fd}, ${placeText(request.offset)})`, operation: 'bar' };
    default:
      return { text: `${name}()` };
  }
}

/** `[06 00], 2`: the bytes of each piece of memory, and how many were wanted in all. */
function piecesText(asked: Notes['asked']): string {
  let wanted = 0;
  const pieces = asked.map(({ request, reply }) => {
    if (request.op !== 'pread' && request.op !== 'pwrite') return '';
    wanted += request.op === 'pread' ? request.length : request.data.length;
    return bytesText(request.op === 'pread' ? reply.out : request.data);
  });
  return `${pieces.join('')}, ${wanted}`;
}

/** An argument that the kernel has written to is shown as it was, and as it is. */
function ioctlText({ fd, nr, arg }: IoctlRequest, { call, out }: Reply): Said {
  const before = argumentText(call, arg);
  const after = out && arg instanceof Uint8Array ? argumentText(call, withOutput(arg, out)) : before;
  const operation = call === undefined ? 'ioctl' : OPERATIONS[call];
  const text = `ioctl(${fd}, ${call ?? `0x${nr.toString(16)}`}, ${before === after ? before : `${before} => ${after}`})`;
  return operation === undefined ? { text } : { text, operation };
}

function withOutput(arg: Uint8Array, out: Uint8Array): Uint8Array {
  const after = arg.slice();
  after.set(out.subarray(0, arg.length));
  return after;
}

/** `config+0x4`. */
function placeText(offset: number | bigint): string {
  const shift = BigInt(VFIO_PCI_OFFSET_SHIFT);
  const index = Number(BigInt(offset) >> shift);
  return `${REGIONS[index] ?? `region ${index}`}+0x${BigInt.asUintN(Number(shift), BigInt(offset)).toString(16)}`;
}

function bytesText(bytes: Uint8Array = new Uint8Array(0)): string {
  const hex = Buffer.from(bytes.subarray(0, MAX_BYTES)).toString('hex');
  return `[${hex.replace(/(?<=^(?:..)+)(?=.)/g, ' ')}${bytes.length > MAX_BYTES ? ' …' : ''}]`;
}

/** `-1 EINVAL (MAP-1…4: iova 0x1 is not page aligned)`: the rules that give this errno, and why. */
function resultText(result: number, notes: Notes, said: Said): string {
  if (result >= 0) return `${result}`;
  const { rules, message } = reasonsOf(result, notes, said);
  const why = [rules, message].filter((text) => text !== undefined);
  return `-1 ${errnoName(-result)}${why.length > 0 ? ` (${why.join(': ')})` : ''}`;
}

export interface Reasons {
  readonly rules: string | undefined;
  readonly message: string | undefined;
}

/** Why a call has failed. */
export function reasonsOf(result: number, { asked }: Notes, { operation }: Said): Reasons {
  const reply = asked.at(-1)?.reply;
  return {
    rules: operation === undefined ? undefined : rulesOf({ op: operation, expected: `-${errnoName(-result)}` }),
    message: reply && reply.ret < 0 ? reply.message : undefined,
  };
}
