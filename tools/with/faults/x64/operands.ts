/** The operands of an instruction that is under way. */
import type { Bus } from './bus.ts';
import { type Cpu, maskOf, type Width } from './cpu.ts';
import { type Instruction, immediateAt, type ModRm, modRm } from './instruction.ts';

/** One instruction under way. */
export interface Run {
  readonly instruction: Instruction;
  readonly cpu: Cpu;
  readonly bus: Bus;
}

export function load({ bus }: Run, vaddr: bigint, width: Width): bigint {
  const bytes = bus.load(vaddr, width);
  let value = 0n;
  for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

export function store({ bus }: Run, vaddr: bigint, width: Width, value: bigint): void {
  bus.store(
    vaddr,
    Uint8Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)),
  );
}

export const register = ({ cpu, instruction }: Run, number: number, width: Width): bigint =>
  cpu.read(number, width, instruction.hasRex);

export const setRegister = ({ cpu, instruction }: Run, number: number, width: Width, value: bigint): void =>
  cpu.write(number, width, value, instruction.hasRex);

/** Does `work` with the memory operand. */
export function withOperand({ instruction, cpu }: Run, work: (operand: ModRm) => void): number | undefined {
  const operand = modRm(instruction, cpu);
  if (operand) work(operand);
  return operand?.end;
}

/**
 * The same with an immediate of `size` bytes, at most 4, which its sign extends to `width` bytes.
 * `work` returns false, and has done nothing, for an instruction that there is not.
 */
export function withImmediate(
  { instruction, cpu }: Run,
  size: Width,
  width: Width,
  work: (operand: ModRm, value: bigint) => boolean,
): number | undefined {
  const length = Math.min(size, 4);
  const operand = modRm(instruction, cpu, length);
  const value = operand && immediateAt(instruction.code, operand.end, size);
  if (!operand || value === undefined || !work(operand, value & maskOf(width))) return undefined;
  return operand.end + length;
}
