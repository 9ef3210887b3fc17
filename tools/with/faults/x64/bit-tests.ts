/** bt, bts, btr, btc. */
import { widthOf } from './instruction.ts';
import { load, type Run, register, store, withImmediate, withOperand } from './operands.ts';

const CF = 1n;
const OPERATIONS = ['bt', 'bts', 'btr', 'btc'] as const;
type Operation = (typeof OPERATIONS)[number];
/** With a register, which may be far from the operand's own bits; 0fba has an immediate. */
const BY_REGISTER = new Map<number, Operation>([
  [0x0fa3, 'bt'],
  [0x0fab, 'bts'],
  [0x0fb3, 'btr'],
  [0x0fbb, 'btc'],
]);
const BY_IMMEDIATE = 0x0fba;

/** Returns the instruction's length; undefined for another one. */
export function bitTest(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const width = widthOf(run.instruction);
  const bits = BigInt(8 * width);
  if (opcode === BY_IMMEDIATE) {
    return withImmediate(run, 1, width, ({ reg, vaddr }, value) => {
      const operation = OPERATIONS[(reg & 7) - 4];
      if (operation === undefined) return false;
      testBit(run, operation, vaddr, value & (bits - 1n));
      return true;
    });
  }
  const operation = BY_REGISTER.get(opcode);
  if (operation === undefined) return undefined;
  return withOperand(run, ({ reg, vaddr }) => {
    const offset = BigInt.asIntN(8 * width, register(run, reg, width));
    const bit = BigInt.asUintN(64, offset) & (bits - 1n);
    testBit(run, operation, BigInt.asUintN(64, vaddr + ((offset - bit) / bits) * BigInt(width)), bit);
  });
}

/** CF becomes the bit; Intel leaves other flags undefined but ZF, and they stay as they are. */
function testBit(run: Run, operation: Operation, vaddr: bigint, bit: bigint): void {
  const width = widthOf(run.instruction);
  const before = load(run, vaddr, width);
  const mask = 1n << bit;
  if (operation === 'bts') store(run, vaddr, width, before | mask);
  else if (operation === 'btr') store(run, vaddr, width, before & ~mask);
  else if (operation === 'btc') store(run, vaddr, width, before ^ mask);
  run.cpu.flags = (run.cpu.flags & ~CF) | ((before >> bit) & 1n);
}
