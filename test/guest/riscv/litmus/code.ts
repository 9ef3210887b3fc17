/**
 * Machine code of a litmus test: each hart does its operations again and again, at fresh places.
 */
import { encode, loadImmediate } from '../encode.ts';
import { finds, type Operation } from './program.ts';

/** Locations are this far apart, each on a cache line of its own; they hold 64 bits. */
const LOCATION = 64;
export const LOCATIONS = 4;
/** The locations of a round. */
export const ROUND = LOCATIONS * LOCATION;

/** How harts meet in each round, by how fast they are. */
export interface Pace {
  /** So often a hart looks whether another has come to this round, before it goes on alone. */
  readonly patience: number;
  /**
   * One of two that have met is ahead of the other by the way of a cache line. So each then waits
   * for a while that is another one in each round: fewer loops than this, a power of two.
   */
  readonly longestWait: number;
}

/** Registers. Loads find into FOUND and up. */
const [SEEN, VALUE, WAIT, FOUND, PLACE] = [5, 6, 7, 10, 18];
export const [HERE, RESULTS, LEFT, PROGRESS, DONE, LOOKS] = [19, 20, 21, 22, 23, 24];

const branch = (name: string, rs1: number, rs2: number, offset: number): number =>
  encode(name, { rs1, rs2 }) |
  (((offset >> 12) & 1) << 31) |
  (((offset >> 5) & 0x3f) << 25) |
  (((offset >> 1) & 0xf) << 8) |
  (((offset >> 11) & 1) << 7);

const addi = (rd: number, rs1: number, imm: number): number => encode('addi', { rd, rs1, imm });

const bits = (kinds: string): number => (kinds.includes('r') ? 2 : 0) | (kinds.includes('w') ? 1 : 0);

function operation(what: Operation, found: number): readonly number[] {
  switch (what.op) {
    case 'fence':
      return [encode('fence') | (bits(what.before) << 24) | (bits(what.after) << 20)];
    case 'load':
      return [encode('ld', { rd: found, rs1: HERE, imm: what.at * LOCATION })];
    case 'store':
      return [addi(VALUE, 0, what.value), encode('sd', { rs1: HERE, rs2: VALUE, imm: what.at * LOCATION })];
    case 'swap': {
      const order = ((what.aq ? 1 : 0) << 26) | ((what.rl ? 1 : 0) << 25);
      const word = encode('amoswap.d', { rd: found, rs1: PLACE, rs2: VALUE }) | order;
      return [addi(VALUE, 0, what.value), addi(PLACE, HERE, what.at * LOCATION), word];
    }
    case 'exchange':
      return [
        addi(VALUE, 0, what.value),
        addi(PLACE, HERE, what.at * LOCATION),
        encode('lr.d', { rd: found, rs1: PLACE }) | ((what.aq ? 1 : 0) << 26),
        encode('sc.d', { rd: WAIT, rs1: PLACE, rs2: VALUE }) | ((what.rl ? 1 : 0) << 25),
        branch('bne', WAIT, 0, -8),
      ];
  }
}

/**
 * The program of a hart. HERE, RESULTS, LEFT (rounds) and PROGRESS are given; DONE and LOOKS are 0.
 * It ends in WFI.
 */
export function codeOf(
  program: readonly Operation[],
  hart: number,
  harts: number,
  { patience, longestWait }: Pace,
): readonly number[] {
  const progress = (of: number): number => of * LOCATION;
  const meet: number[] = [];
  for (let other = 0; other < harts; other++) {
    if (other === hart) continue;
    // while the other is not here, and patience is left
    meet.push(
      encode('ld', { rd: SEEN, rs1: PROGRESS, imm: progress(other) }),
      branch('bgeu', SEEN, DONE, 12),
      addi(LOOKS, LOOKS, -1),
      branch('bne', LOOKS, 0, -12),
    );
    meet.push(...loadImmediate(LOOKS, patience));
  }
  const wait = [
    addi(VALUE, 0, 37 + 16 * hart),
    encode('mul', { rd: WAIT, rs1: DONE, rs2: VALUE }),
    encode('andi', { rd: WAIT, rs1: WAIT, imm: longestWait - 1 }),
    branch('beq', WAIT, 0, 12),
    addi(WAIT, WAIT, -1),
    branch('beq', 0, 0, -8),
  ];
  const work: number[] = [];
  let loads = 0;
  for (const each of program) {
    work.push(...operation(each, FOUND + loads));
    if (finds(each)) loads++;
  }
  const results = Array.from({ length: loads }, (_, i) => encode('sd', { rs1: RESULTS, rs2: FOUND + i, imm: 8 * i }));
  const round = [
    addi(DONE, DONE, 1),
    encode('sd', { rs1: PROGRESS, rs2: DONE, imm: progress(hart) }),
    ...loadImmediate(LOOKS, patience),
    ...meet,
    ...wait,
    ...work,
    ...results,
    addi(RESULTS, RESULTS, 8 * loads),
    addi(HERE, HERE, ROUND),
    addi(LEFT, LEFT, -1),
  ];
  return [...round, branch('bne', LEFT, 0, -4 * round.length), encode('wfi')];
}
