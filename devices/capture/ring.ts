/** A ring as programmed and accepted: where its slots and its index write-back lie, as page number and offset. */
import { MAX_FRAME_SIZE, MAX_FRAMES, MIN_FRAME_SIZE } from './regs.ts';

export interface RingProgram {
  readonly ringLo: number;
  readonly ringHi: number;
  readonly frames: number;
  readonly frameSize: number;
  readonly indexLo: number;
  readonly indexHi: number;
}

const RING_ALIGN = 64;
const INDEX_ALIGN = 8;
const PAGE = 4096;
const NR_VPN = 2 ** 52;

const vpnOf = (lo: number, hi: number): number => hi * 2 ** 20 + (lo >>> 12);

export class Ring {
  readonly frames: number;
  readonly frameSize: number;
  readonly hasIndex: boolean;
  readonly indexVpn: number;
  readonly indexOffset: number;
  readonly #vpn: number;
  readonly #offset: number;

  /** What is there before the first RUN. */
  static readonly NONE = new Ring({ ringLo: 0, ringHi: 0, frames: 1, frameSize: 64, indexLo: 0, indexHi: 0 });

  private constructor(program: RingProgram) {
    this.frames = program.frames;
    this.frameSize = program.frameSize;
    this.#vpn = vpnOf(program.ringLo, program.ringHi);
    this.#offset = program.ringLo & (PAGE - 1);
    this.hasIndex = program.indexLo !== 0 || program.indexHi !== 0;
    this.indexVpn = vpnOf(program.indexLo, program.indexHi);
    this.indexOffset = program.indexLo & (PAGE - 1);
  }

  /** The ring that is programmed, or undefined for bad programming: a size, a count, an alignment, or a ring past 2^64. */
  static program(program: RingProgram): Ring | undefined {
    const { frames, frameSize, ringLo, ringHi, indexLo } = program;
    const framesOk = frames >= 1 && frames <= MAX_FRAMES && (frames & (frames - 1)) === 0;
    const sizeOk = frameSize >= MIN_FRAME_SIZE && frameSize <= MAX_FRAME_SIZE && frameSize % MIN_FRAME_SIZE === 0;
    if (!framesOk || !sizeOk || ringLo % RING_ALIGN !== 0 || indexLo % INDEX_ALIGN !== 0) return undefined;
    const pages = Math.ceil(((ringLo & (PAGE - 1)) + frames * frameSize) / PAGE);
    return vpnOf(ringLo, ringHi) + pages <= NR_VPN ? new Ring(program) : undefined;
  }

  slotVpn(slot: number): number {
    return this.#vpn + Math.floor((this.#offset + slot * this.frameSize) / PAGE);
  }

  slotOffset(slot: number): number {
    return (this.#offset + slot * this.frameSize) % PAGE;
  }
}
