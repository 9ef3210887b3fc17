/**
 * Multiplications by memory. CF and OF tell that the lower half is not the whole product; Intel
 * leaves the other flags undefined, and they stay. NOT MODELLED: div and idiv, which may fault.
 */
import { maskOf, RAX, RDX, type Width } from './cpu.ts';
import { widthOf } from './instruction.ts';
import { load, type Run, register, setRegister, withImmediate, withOperand } from './operands.ts';

const CF = 1n << 0n;
const OF = 1n << 11n;

/** imul into a register, with or without an immediate. Undefined for another instruction. */
export function product(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const width = widthOf(run.instruction);
  const into = (reg: number, vaddr: bigint, factor: bigint): true => {
    const whole = signed(load(run, vaddr, width), width) * signed(factor, width);
    setRegister(run, reg, width, whole & maskOf(width));
    tell(run, whole !== signed(whole, width));
    return true;
  };
  switch (opcode) {
    case 0x0faf:
      return withOperand(run, ({ reg, vaddr }) => void into(reg, vaddr, register(run, reg, width)));
    case 0x69:
    case 0x6b:
      return withImmediate(run, opcode === 0x6b ? 1 : width, width, ({ reg, vaddr }, factor) =>
        into(reg, vaddr, factor),
      );
  }
  return undefined;
}

/** mul and imul of the accumulator; the product is twice as wide. */
export function wideProduct(run: Run, width: Width, isSigned: boolean): number | undefined {
  return withOperand(run, ({ vaddr }) => {
    const value = (raw: bigint): bigint => (isSigned ? signed(raw, width) : raw);
    const whole = value(load(run, vaddr, width)) * value(register(run, RAX, width));
    const low = whole & maskOf(width);
    if (width === 1) setRegister(run, RAX, 2, whole & maskOf(2));
    else {
      setRegister(run, RAX, width, low);
      setRegister(run, RDX, width, (whole >> BigInt(8 * width)) & maskOf(width));
    }
    tell(run, whole !== value(low));
  });
}

const signed = (value: bigint, width: Width): bigint => BigInt.asIntN(8 * width, value);

function tell({ cpu }: Run, isOver: boolean): void {
  cpu.flags = isOver ? cpu.flags | CF | OF : cpu.flags & ~(CF | OF);
}
