/** Finds the code that one translation takes in: blocks that direct jumps and branches connect. */
import { expand } from '../compressed.ts';
import { decode } from '../decode.ts';
import { type Decoded, fieldsOf } from './fields.ts';

/** Instructions without a jump into or out of their middle. */
export interface Block {
  /** Its number in the region, in the order of addresses. */
  readonly index: number;
  readonly pc: number;
  readonly instructions: readonly Decoded[];
  /** vaddr after its last instruction. */
  readonly end: number;
}

/** The 16 bits at `pc`; undefined where the translation must not look. */
export type Fetch = (pc: number) => number | undefined;

/** What `discover` asks about. */
export interface Surroundings {
  /** Whether the emitter knows an instruction. */
  translates(decoded: Decoded): boolean;
  /** Whether another region can be entered there. */
  isKnown(pc: number): boolean;
}

/** Larger regions take V8 too long to compile. */
const MAX_INSTRUCTIONS = 400;
const MAX_BLOCKS = 96;

const isBranch = ({ instruction }: Decoded): boolean => instruction.format === 'B';

/** Whether a block ends with it. `translates`: whether the emitter knows it. */
const ends = (decoded: Decoded, translates: (decoded: Decoded) => boolean): boolean =>
  isBranch(decoded) ||
  decoded.instruction.name === 'jal' ||
  decoded.instruction.name === 'jalr' ||
  !translates(decoded);

function decodeAt(fetch: Fetch, pc: number): Decoded | undefined {
  const low = fetch(pc);
  if (low === undefined) return undefined;
  const compressed = (low & 3) !== 3;
  const high = compressed ? 0 : fetch(pc + 2);
  if (high === undefined) return undefined;
  const word = compressed ? expand(low) : low | (high << 16);
  const instruction = decode(word);
  return instruction && fieldsOf(pc, compressed ? 2 : 4, word, instruction);
}

/**
 * The blocks that `entry` leads to, in the order of addresses; none if nothing there can be
 * translated.
 */
export function discover(fetch: Fetch, entry: number, { translates, isKnown }: Surroundings): readonly Block[] {
  const leaders = new Set<number>();
  const decoded = new Map<number, Decoded>();
  const work = [entry];
  const want = (pc: number): void => {
    if (!leaders.has(pc) && !isKnown(pc)) work.push(pc);
  };
  while (work.length > 0 && leaders.size < MAX_BLOCKS && decoded.size < MAX_INSTRUCTIONS) {
    const start = work.shift()!; // breadth first: what is near comes in before what is far
    leaders.add(start);
    for (let pc = start; !decoded.has(pc) && (pc === start || !isKnown(pc)) && decoded.size < MAX_INSTRUCTIONS; ) {
      const at = decodeAt(fetch, pc);
      if (!at) break;
      decoded.set(pc, at);
      pc += at.length;
      if (!ends(at, translates)) continue;
      const { name } = at.instruction;
      if (isBranch(at) || name === 'jal') want(at.pc + at.imm);
      // a call returns to what is behind it, and so does what the interpreter executes
      const jumps = name === 'jal' || name === 'jalr';
      if (jumps ? at.rd !== 0 : name !== 'mret' && name !== 'sret') want(pc);
      break;
    }
  }
  return cut(
    [...leaders].filter((pc) => decoded.has(pc)).sort((a, b) => a - b),
    decoded,
    leaders,
    (at) => ends(at, translates),
  );
}

function cut(
  starts: readonly number[],
  decoded: ReadonlyMap<number, Decoded>,
  leaders: ReadonlySet<number>,
  isEnd: (decoded: Decoded) => boolean,
): readonly Block[] {
  return starts.map((pc, index) => {
    const instructions: Decoded[] = [];
    let end = pc;
    for (let at = decoded.get(pc); at; at = leaders.has(end) ? undefined : decoded.get(end)) {
      instructions.push(at);
      end += at.length;
      if (isEnd(at)) break;
    }
    return { index, pc, instructions, end };
  });
}
