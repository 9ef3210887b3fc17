/** setcc and cmovcc (Intel SDM vol. 1, appendix B). */
import { widthOf } from './instruction.ts';
import { load, type Run, register, setRegister, store, withOperand } from './operands.ts';

const CF = 1n << 0n;
const PF = 1n << 2n;
const ZF = 1n << 6n;
const SF = 1n << 7n;
const OF = 1n << 11n;

/** Returns the instruction's length; undefined for another one. */
export function byCondition(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const holds = isTrue(opcode & 0xf, run.cpu.flags);
  if (opcode >> 4 === 0x0f9) return withOperand(run, ({ vaddr }) => store(run, vaddr, 1, holds ? 1n : 0n));
  if (opcode >> 4 !== 0x0f4) return undefined;
  const width = widthOf(run.instruction);
  return withOperand(run, ({ reg, vaddr }) => {
    const value = load(run, vaddr, width); // whatever the condition says
    setRegister(run, reg, width, holds ? value : register(run, reg, width));
  });
}

/** An odd condition is the opposite of the one below it. */
const isTrue = (condition: number, flags: bigint): boolean => of(condition >> 1, flags) !== ((condition & 1) === 1);

function of(pair: number, flags: bigint): boolean {
  const any = (mask: bigint): boolean => (flags & mask) !== 0n;
  const isLess = any(SF) !== any(OF);
  return [any(OF), any(CF), any(ZF), any(CF | ZF), any(SF), any(PF), isLess, any(ZF) || isLess][pair]!;
}
