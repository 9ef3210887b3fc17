/**
 * The block device (virtio 1.3 §5.2). A request is done when the driver notifies of it, before the
 * notification returns: no request is ever under way between two of the guest's instructions.
 */
import { codeOf } from '../../platform/errno.ts';
import type { VirtioKind } from './device.ts';
import { BadQueue, type Chain, gather, lengthOf, scatter, type VirtioMemory } from './queue.ts';

export const SECTOR = 512;
const QUEUE_SIZE = 256;
const SEG_MAX = QUEUE_SIZE - 2;
const F_SEG_MAX = 1n << 2n;
const F_RO = 1n << 5n;
const F_BLK_SIZE = 1n << 6n;
const F_FLUSH = 1n << 9n;

const [T_IN, T_OUT, T_FLUSH, T_GET_ID] = [0, 1, 4, 8];
const [S_OK, S_IOERR, S_UNSUPP] = [0, 1, 2];
const HEADER = 16;
const ID_BYTES = 20;

/** What is behind the device. Errors of I/O are exceptions. */
export interface Disk {
  /** Bytes, a multiple of SECTOR. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Whether written data may wait for `flush`. */
  readonly writeback: boolean;
  /** At most 20 bytes. */
  readonly serial: string;
  /**
   * Memory for what goes to and comes from the disk, aligned as it wants it; a multiple of SECTOR.
   */
  readonly buffer: Uint8Array;
  read(at: number, into: Uint8Array): void;
  write(at: number, bytes: Uint8Array): void;
  flush(): void;
}

export const BLOCK = { id: 2, classCode: 0x010000, queueSizes: [QUEUE_SIZE] };

/** The features of a block device with this disk. */
export const blockFeatures = ({ readOnly, writeback }: Pick<Disk, 'readOnly' | 'writeback'>): bigint =>
  F_SEG_MAX | F_BLK_SIZE | (readOnly ? F_RO : 0n) | (writeback ? F_FLUSH : 0n);

export function block(disk: Disk): VirtioKind {
  const config = new Uint8Array(0x24);
  const view = new DataView(config.buffer);
  view.setBigUint64(0, BigInt(disk.size / SECTOR), true); // capacity
  view.setUint32(0x0c, SEG_MAX, true);
  view.setUint32(0x14, SECTOR, true);
  return {
    ...BLOCK,
    features: blockFeatures(disk),
    config,
    work(queue, _index, memory) {
      for (let chain = queue.take(); chain; chain = queue.take()) queue.give(chain.head, serve(chain, disk, memory));
    },
  };
}

/** Does a request; returns how many bytes of the driver's memory were written, with the status. */
function serve(chain: Chain, disk: Disk, memory: VirtioMemory): number {
  const header = new Uint8Array(HEADER);
  const room = lengthOf(chain.writable);
  // §5.2.6: without a header, or a byte for the status, there is no way to say what is wrong
  if (gather(memory, chain.readable, header) < HEADER || room === 0) throw new BadQueue('a request without its frame');
  const view = new DataView(header.buffer);
  const type = view.getUint32(0, true);
  const at = Number(view.getBigUint64(8, true)) * SECTOR;
  const data = room - 1;
  let status = S_OK;
  let written = 0;
  try {
    if (type === T_IN) written = data;
    status = perform({ type, at, chain, data }, disk, memory);
  } catch (error) {
    if (error instanceof BadQueue || codeOf(error) === undefined) throw error; // no error of I/O
    status = S_IOERR;
  }
  if (type === T_GET_ID && status === S_OK) written = Math.min(data, ID_BYTES);
  scatter(memory, chain.writable, Uint8Array.of(status), data);
  return written + 1;
}

interface Request {
  readonly type: number;
  /** Bytes into the disk. */
  readonly at: number;
  readonly chain: Chain;
  /** Bytes of writable buffers before the status. */
  readonly data: number;
}

function perform({ type, at, chain, data }: Request, disk: Disk, memory: VirtioMemory): number {
  switch (type) {
    case T_IN:
      return transfer(at, data, disk, (done, piece) => {
        memory.idle(); // the disk may take long, and nobody shall wait for the memory meanwhile
        disk.read(at + done, piece);
        scatter(memory, chain.writable, piece, done);
      });
    case T_OUT: {
      if (disk.readOnly) return S_IOERR;
      const status = transfer(at, lengthOf(chain.readable) - HEADER, disk, (done, piece) => {
        gather(memory, chain.readable, piece, HEADER + done);
        memory.idle();
        disk.write(at + done, piece);
      });
      return status;
    }
    case T_FLUSH:
      memory.idle();
      disk.flush();
      return S_OK;
    case T_GET_ID: {
      const id = new Uint8Array(ID_BYTES);
      id.set(Buffer.from(disk.serial).subarray(0, ID_BYTES));
      scatter(memory, chain.writable, id.subarray(0, Math.min(data, ID_BYTES)));
      return S_OK;
    }
    default:
      return S_UNSUPP;
  }
}

/** Moves whole sectors within the disk, piece by piece. */
function transfer(at: number, length: number, disk: Disk, move: (done: number, piece: Uint8Array) => void): number {
  if (length % SECTOR !== 0 || at + length > disk.size) return S_IOERR;
  for (let done = 0; done < length; done += disk.buffer.length) {
    move(done, disk.buffer.subarray(0, Math.min(disk.buffer.length, length - done)));
  }
  return S_OK;
}
