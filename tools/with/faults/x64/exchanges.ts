/**
 * xchg, xadd and cmpxchg. The access that compares writes, too: without success what it has read,
 * as the CPU does (Intel SDM vol. 2, CMPXCHG).
 */
import { compute } from './arithmetic.ts';
import { maskOf, RAX, RBX, RCX, RDX, type Width } from './cpu.ts';
import { widthOf } from './instruction.ts';
import { load, type Run, register, setRegister, store, withOperand } from './operands.ts';

const ZF = 1n << 6n;
const REX_W = 8;

/** Returns the instruction's length; undefined for another one. */
export function exchange(run: Run): number | undefined {
  const { opcode, rex } = run.instruction;
  const width = (opcode & 1) === 0 ? 1 : widthOf(run.instruction);
  switch (opcode) {
    case 0x86:
    case 0x87:
      return withOperand(run, ({ reg, vaddr }) => {
        const before = load(run, vaddr, width);
        store(run, vaddr, width, register(run, reg, width));
        setRegister(run, reg, width, before);
      });
    case 0x0fb0:
    case 0x0fb1:
      return withOperand(run, ({ reg, vaddr }) => compareExchange(run, vaddr, width, reg));
    case 0x0fc0:
    case 0x0fc1:
      return withOperand(run, ({ reg, vaddr }) => {
        const before = load(run, vaddr, width);
        const sum = compute('add', before, register(run, reg, width), width, run.cpu.flags);
        store(run, vaddr, width, sum.value);
        setRegister(run, reg, width, before);
        run.cpu.flags = sum.flags;
      });
    case 0x0fc7:
      return isCompareExchangePair(run)
        ? withOperand(run, ({ vaddr }) => pair(run, vaddr, rex & REX_W ? 8 : 4))
        : undefined;
  }
  return undefined;
}

function compareExchange(run: Run, vaddr: bigint, width: Width, reg: number): void {
  const before = load(run, vaddr, width);
  const expected = register(run, RAX, width);
  const { flags } = compute('cmp', expected, before, width, run.cpu.flags);
  store(run, vaddr, width, before === expected ? register(run, reg, width) : before);
  if (before !== expected) setRegister(run, RAX, width, before);
  run.cpu.flags = flags;
}

/** cmpxchg8b and cmpxchg16b; other extensions of that opcode are none of ours. */
const isCompareExchangePair = ({ instruction: { code, at } }: Run): boolean => (((code[at] ?? 0) >> 3) & 7) === 1;

/** rdx:rax is compared, rcx:rbx stored, each of `half` bytes. DEVIATION: 16 need no alignment. */
function pair(run: Run, vaddr: bigint, half: 4 | 8): void {
  const { cpu } = run;
  const [low, high] = [load(run, vaddr, half), load(run, vaddr + BigInt(half), half)];
  const mask = maskOf(half);
  const isEqual = low === (cpu.get(RAX) & mask) && high === (cpu.get(RDX) & mask);
  store(run, vaddr, half, isEqual ? cpu.get(RBX) & mask : low);
  store(run, vaddr + BigInt(half), half, isEqual ? cpu.get(RCX) & mask : high);
  if (!isEqual) {
    cpu.set(RAX, low);
    cpu.set(RDX, high);
  }
  cpu.flags = isEqual ? cpu.flags | ZF : cpu.flags & ~ZF;
}
