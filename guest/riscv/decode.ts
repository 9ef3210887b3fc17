import { INSTRUCTIONS, type Instruction } from './instructions.ts';

/**
 * The instructions that opcode, funct3 and funct7 of a word leave possible: by opcode, then by the
 * 10 other bits; filled when a word is met. Arrays of a given length: V8 makes a hash table of one
 * that grows with gaps.
 */
const cells: ((readonly Instruction[] | undefined)[] | undefined)[] = new Array(32);
const CELL_BITS = 0xfe00_707f | 0;

/** The instruction that the 32-bit `word` is; undefined if it is none. */
export function decode(word: number): Instruction | undefined {
  const opcode = (word >>> 2) & 31;
  const cell = ((word >>> 25) << 3) | ((word >>> 12) & 7);
  let ofOpcode = cells[opcode];
  if (!ofOpcode) {
    ofOpcode = new Array(1024);
    cells[opcode] = ofOpcode;
  }
  let possible = ofOpcode[cell];
  if (!possible) {
    possible = candidates(word);
    ofOpcode[cell] = possible;
  }
  for (const instruction of possible) if ((word & instruction.mask) === instruction.match) return instruction;
  return undefined;
}

function candidates(word: number): readonly Instruction[] {
  return INSTRUCTIONS.filter(({ mask, match }) => ((word ^ match) & mask & CELL_BITS) === 0);
}

/** A value for each instruction that `named` names, by the instruction's id. */
export function byInstruction<T>(named: Readonly<Record<string, T>>): readonly (T | undefined)[] {
  for (const name of Object.keys(named)) {
    if (!INSTRUCTIONS.some((instruction) => instruction.name === name)) throw new Error(`no instruction ${name}`);
  }
  return INSTRUCTIONS.map(({ name }) => named[name]);
}
