/**
 * The parts of an instruction in 64-bit mode (Intel SDM vol. 2, chapter 2): prefixes, opcode,
 * ModRM with its address, and where an immediate begins. EVEX is not known.
 */
import { viewOf } from '../../../../platform/struct.ts';
import type { Cpu, Width } from './cpu.ts';

/** The longest instruction. */
export const MAX_LENGTH = 15;
const ESCAPE = 0x0f;
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
const LOCK = 0xf0;
const REPNE = 0xf2;
const REP = 0xf3;
const VEX3 = 0xc4;
const VEX2 = 0xc5;
const SEGMENTS = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

export interface Instruction {
  readonly code: Uint8Array;
  /** 0x89, or 0x0fb6 for one of two bytes, 0x0f38f0 for one of three. */
  readonly opcode: number;
  /** 0, or 0xf2, 0xf3. */
  readonly repeat: number;
  readonly has66: boolean;
  readonly segment: number;
  readonly rex: number;
  readonly hasRex: boolean;
  /** Where the byte after the opcode is. */
  readonly at: number;
  /** What a VEX prefix says more: whether the vector has 32 bytes, and a further register. */
  readonly vex?: { readonly is256: boolean; readonly source: number };
}

/** The parts up to the opcode; undefined where they are none that we know. */
export function decode(code: Uint8Array): Instruction | undefined {
  let [repeat, segment, rex, at] = [0, 0, 0, 0];
  let [has66, hasLock] = [false, false];
  for (; ; at++) {
    const byte = code[at];
    if (byte === undefined || byte === ADDRESS_SIZE) return undefined;
    if (byte === OPERAND_SIZE) has66 = true;
    else if (byte === REPNE || byte === REP) repeat = byte;
    else if (SEGMENTS.includes(byte)) segment = byte;
    else if (byte === LOCK)
      hasLock = true; // each access is one of the device
    else break;
  }
  if (code[at] === VEX2 || code[at] === VEX3) {
    return has66 || repeat !== 0 || hasLock ? undefined : vexInstruction(code, at, segment);
  }
  const hasRex = (code[at]! & 0xf0) === 0x40;
  if (hasRex) rex = code[at++]!;
  let map = 0;
  if (code[at] === ESCAPE) {
    map = ESCAPE;
    at++;
    if (code[at] === 0x38 || code[at] === 0x3a) map = (map << 8) | code[at++]!;
  }
  const last = code[at++];
  if (last === undefined) return undefined;
  return { code, opcode: (map << 8) | last, repeat, has66, segment, rex, hasRex, at };
}

const VEX_MAPS = [undefined, 0x0f, 0x0f38, 0x0f3a];
const VEX_REPEATS = [0, 0, REP, REPNE];

/** After a VEX prefix of two or three bytes. Its register bits are inverted (2.3.5). */
function vexInstruction(code: Uint8Array, start: number, segment: number): Instruction | undefined {
  const isShort = code[start] === VEX2;
  const [first, second] = [code[start + 1], code[start + (isShort ? 1 : 2)]];
  const at = start + (isShort ? 2 : 3);
  const last = code[at];
  if (first === undefined || second === undefined || last === undefined) return undefined;
  const map = isShort ? ESCAPE : VEX_MAPS[first & 0x1f];
  if (map === undefined) return undefined;
  const extensions = isShort ? (~first & 0x80) >> 5 : (~first & 0xe0) >> 5;
  const pp = second & 3;
  return {
    ...{ code, opcode: (map << 8) | last, repeat: VEX_REPEATS[pp]!, has66: pp === 1, segment },
    rex: extensions | (isShort ? 0 : (second & 0x80) >> 4),
    ...{ hasRex: true, at: at + 1 },
    vex: { is256: (second & 4) !== 0, source: (~second >> 3) & 0xf },
  };
}

/** The operands' width where the opcode does not say it. */
export function widthOf({ rex, has66 }: Instruction): Width {
  if ((rex & 8) !== 0) return 8;
  return has66 ? 2 : 4;
}

/** ModRM and what belongs to it. */
export interface ModRm {
  /** The register, or the opcode's extension. */
  readonly reg: number;
  readonly vaddr: bigint;
  /** Where the immediate is, or the next instruction. */
  readonly end: number;
}

/**
 * Undefined for an operand that is a register. `immediate`: bytes that follow, which an address
 * relative to rip counts.
 */
export function modRm(instruction: Instruction, cpu: Cpu, immediate = 0): ModRm | undefined {
  const { code, rex, segment } = instruction;
  const view = viewOf(code);
  let { at } = instruction;
  if (code.length < at + 1) return undefined;
  const byte = code[at++]!;
  const [mod, reg, rm] = [byte >> 6, ((byte >> 3) & 7) | ((rex & 4) << 1), byte & 7] as const;
  if (mod === 3) return undefined;
  let vaddr = cpu.segment(segment);
  const isRelative = mod === 0 && rm === 5;
  let hasWide = mod === 2 || isRelative;
  if (rm === 4) {
    const sib = code[at++] ?? 0;
    const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (index !== 4) vaddr += cpu.get(index) << BigInt(sib >> 6);
    if (mod === 0 && (sib & 7) === 5) hasWide = true;
    else vaddr += cpu.get((sib & 7) | ((rex & 1) << 3));
  } else if (!isRelative) vaddr += cpu.get(rm | ((rex & 1) << 3));
  const length = hasWide ? 4 : mod === 1 ? 1 : 0;
  if (code.length < at + length) return undefined;
  if (length > 0) vaddr += BigInt(length === 4 ? view.getInt32(at, true) : view.getInt8(at));
  at += length;
  if (isRelative) vaddr += cpu.rip + BigInt(at + immediate);
  return { reg, vaddr: BigInt.asUintN(64, vaddr), end: at };
}

/** A signed immediate of at most 4 bytes; undefined where it is cut off. */
export function immediateAt(code: Uint8Array, at: number, width: Width): bigint | undefined {
  const length = Math.min(width, 4);
  if (code.length < at + length) return undefined;
  const view = viewOf(code);
  if (length === 1) return BigInt(view.getInt8(at));
  return BigInt(length === 2 ? view.getInt16(at, true) : view.getInt32(at, true));
}
