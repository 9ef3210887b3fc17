/**
 * A ring that was programmed and accepted. Its slots and its index write-back are given by page
 * number and offset.
 */
import { PAGE_SIZE } from '../../platform/page.ts';
import { MAX_FRAME_SIZE, MAX_FRAMES, MIN_FRAME_SIZE, type Values } from './regs.ts';

/** The registers that say where the ring is. */
export type RingProgram = Readonly<
  Pick<Values, 'RING_LO' | 'RING_HI' | 'FRAMES' | 'FRAME_SIZE' | 'INDEX_LO' | 'INDEX_HI'>
>;

const RING_ALIGN = 64;
const INDEX_ALIGN = 8;
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

  /** The ring before the first RUN. */
  static readonly NONE = new Ring({ RING_LO: 0, RING_HI: 0, FRAMES: 1, FRAME_SIZE: 64, INDEX_LO: 0, INDEX_HI: 0 });

  private constructor(program: RingProgram) {
    this.frames = program.FRAMES;
    this.frameSize = program.FRAME_SIZE;
    this.#vpn = vpnOf(program.RING_LO, program.RING_HI);
    this.#offset = program.RING_LO & (PAGE_SIZE - 1);
    this.hasIndex = program.INDEX_LO !== 0 || program.INDEX_HI !== 0;
    this.indexVpn = vpnOf(program.INDEX_LO, program.INDEX_HI);
    this.indexOffset = program.INDEX_LO & (PAGE_SIZE - 1);
  }

  /**
   * The programmed ring. Undefined for bad programming: a bad size, count or alignment, or a ring
   * past 2^64.
   */
  static program(program: RingProgram): Ring | undefined {
    const { FRAMES: frames, FRAME_SIZE: frameSize, RING_LO, RING_HI, INDEX_LO } = program;
    const framesOk = frames >= 1 && frames <= MAX_FRAMES && (frames & (frames - 1)) === 0;
    const sizeOk = frameSize >= MIN_FRAME_SIZE && frameSize <= MAX_FRAME_SIZE && frameSize % MIN_FRAME_SIZE === 0;
    if (!framesOk || !sizeOk || RING_LO % RING_ALIGN !== 0 || INDEX_LO % INDEX_ALIGN !== 0) return undefined;
    const pages = Math.ceil(((RING_LO & (PAGE_SIZE - 1)) + frames * frameSize) / PAGE_SIZE);
    return vpnOf(RING_LO, RING_HI) + pages <= NR_VPN ? new Ring(program) : undefined;
  }

  slotVpn(slot: number): number {
    return this.#vpn + Math.floor((this.#offset + slot * this.frameSize) / PAGE_SIZE);
  }

  slotOffset(slot: number): number {
    return (this.#offset + slot * this.frameSize) % PAGE_SIZE;
  }
}
