/**
 * Carries out an instruction whose memory operand is a device's register: what compilers and libc
 * make of volatile and atomic accesses, memcpy and memset. NOT MODELLED: AVX-512, the x87, vectors
 * that are computed with, and divisions.
 */
import { compute, OPERATIONS, step } from './arithmetic.ts';
import { bitTest } from './bit-tests.ts';
import type { Bus } from './bus.ts';
import { byCondition } from './conditions.ts';
import { type Cpu, maskOf, RCX, RDI, RSI, type Width } from './cpu.ts';
import { exchange } from './exchanges.ts';
import { decode, widthOf } from './instruction.ts';
import { load, type Run, register, setRegister, store, withImmediate, withOperand } from './operands.ts';
import { product, wideProduct } from './products.ts';
import { shift } from './shifts.ts';
import { moveVector, vectorMove } from './vector-moves.ts';

/** Moves of a repeated instruction at once; then the thread runs into it again. */
const MOST_REPEATS = 1024;
const DF = 1n << 10n;

/**
 * Executes the instruction at the start of `code`. False, and nothing has changed: it is none that
 * we know. What `bus` throws leaves the registers as they were.
 */
export function execute(code: Uint8Array, cpu: Cpu, bus: Bus): boolean {
  const instruction = decode(code);
  if (!instruction) return false;
  const run = { instruction, cpu, bus };
  const { opcode } = instruction;
  if (opcode === 0xa4 || opcode === 0xa5 || opcode === 0xaa || opcode === 0xab) return repeated(run);
  const end = oneAccess(run);
  if (end === undefined) return false;
  cpu.rip += BigInt(end);
  return true;
}

/** Returns the instruction's length; undefined for one that we do not know. */
function oneAccess(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const vector = vectorMove(run.instruction);
  if (vector) return withOperand(run, (operand) => moveVector(vector, operand, run));
  if (run.instruction.vex) return undefined;
  if (opcode < 0x40 && (opcode & 7) < 4) return arithmetic(run);
  const width = (opcode & 1) === 0 ? 1 : widthOf(run.instruction);
  switch (opcode) {
    case 0x88:
    case 0x89:
      return withOperand(run, ({ reg, vaddr }) => store(run, vaddr, width, register(run, reg, width)));
    case 0x0fc3:
      return withOperand(run, ({ reg, vaddr }) => {
        const wide = widthOf(run.instruction);
        store(run, vaddr, wide, register(run, reg, wide));
      });
    case 0x8a:
    case 0x8b:
      return withOperand(run, ({ reg, vaddr }) => setRegister(run, reg, width, load(run, vaddr, width)));
    case 0x84:
    case 0x85:
      return withOperand(run, ({ reg, vaddr }) => test(run, load(run, vaddr, width), register(run, reg, width), width));
    case 0xc6:
    case 0xc7:
      return withImmediate(run, width, width, ({ reg, vaddr }, value) => {
        if ((reg & 7) !== 0) return false;
        store(run, vaddr, width, value);
        return true;
      });
    case 0x80:
    case 0x81:
    case 0x83:
      return withImmediate(run, opcode === 0x83 ? 1 : width, width, ({ reg, vaddr }, value) =>
        toMemory(run, reg & 7, { vaddr, width, value }),
      );
    case 0xf6:
    case 0xf7:
    case 0xfe:
    case 0xff:
      return ofOneOperand(run, width);
    case 0x0fb6:
    case 0x0fb7:
      return withOperand(run, ({ reg, vaddr }) =>
        setRegister(run, reg, widthOf(run.instruction), load(run, vaddr, opcode === 0x0fb6 ? 1 : 2)),
      );
    case 0x0fbe:
      return extended(run, 1);
    case 0x0fbf:
      return extended(run, 2);
    case 0x63:
      return extended(run, 4);
    case 0x0f38f0:
    case 0x0f38f1:
      return swapped(run);
  }
  return exchange(run) ?? bitTest(run) ?? byCondition(run) ?? shift(run) ?? product(run);
}

function test({ cpu }: Run, a: bigint, b: bigint, width: Width): void {
  cpu.flags = compute('and', a, b, width, cpu.flags).flags;
}

/** movsx, movsxd */
function extended(run: Run, from: 1 | 2 | 4): number | undefined {
  const width = widthOf(run.instruction);
  return withOperand(run, ({ reg, vaddr }) => {
    const value = BigInt.asIntN(8 * from, load(run, vaddr, from));
    setRegister(run, reg, width, value & maskOf(width));
  });
}

/** movbe; behind f2 this is crc32. */
function swapped(run: Run): number | undefined {
  const { opcode, repeat } = run.instruction;
  if (repeat !== 0) return undefined;
  const width = widthOf(run.instruction);
  return withOperand(run, ({ reg, vaddr }) => {
    if (opcode === 0x0f38f1) store(run, vaddr, width, byteSwapped(register(run, reg, width), width));
    else setRegister(run, reg, width, byteSwapped(load(run, vaddr, width), width));
  });
}

function byteSwapped(value: bigint, width: Width): bigint {
  let swappedValue = 0n;
  for (let i = 0; i < width; i++) swappedValue = (swappedValue << 8n) | ((value >> BigInt(8 * i)) & 0xffn);
  return swappedValue;
}

/** add … cmp between a register and memory. */
function arithmetic(run: Run): number | undefined {
  const { opcode } = run.instruction;
  const width = (opcode & 1) === 0 ? 1 : widthOf(run.instruction);
  const number = opcode >> 3;
  return withOperand(run, ({ reg, vaddr }) => {
    const other = register(run, reg, width);
    if ((opcode & 2) === 0) {
      toMemory(run, number, { vaddr, width, value: other });
      return;
    }
    const operation = OPERATIONS[number]!;
    const { value, flags } = compute(operation, other, load(run, vaddr, width), width, run.cpu.flags);
    if (operation !== 'cmp') setRegister(run, reg, width, value);
    run.cpu.flags = flags;
  });
}

interface Change {
  readonly vaddr: bigint;
  readonly width: Width;
  readonly value: bigint;
}

function toMemory(run: Run, number: number, { vaddr, width, value: other }: Change): true {
  const operation = OPERATIONS[number]!;
  const { value, flags } = compute(operation, load(run, vaddr, width), other, width, run.cpu.flags);
  if (operation !== 'cmp') store(run, vaddr, width, value);
  run.cpu.flags = flags;
  return true;
}

/** test with an immediate, not, neg, mul, imul; inc, dec. */
function ofOneOperand(run: Run, width: Width): number | undefined {
  const { code, at, opcode } = run.instruction;
  const extension = ((code[at] ?? 0) >> 3) & 7;
  const isStep = opcode >= 0xfe;
  if (!isStep && extension < 2) {
    return withImmediate(run, width, width, ({ vaddr }, value) => {
      test(run, load(run, vaddr, width), value, width);
      return true;
    });
  }
  if (!isStep && (extension === 4 || extension === 5)) return wideProduct(run, width, extension === 5);
  if (extension > (isStep ? 1 : 3)) return undefined; // div; call, jmp, push
  return withOperand(run, ({ vaddr }) => {
    const before = load(run, vaddr, width);
    const { flags } = run.cpu;
    if (!isStep && extension === 2) {
      store(run, vaddr, width, ~before & maskOf(width));
      return;
    }
    const after = isStep
      ? step(extension === 0 ? 'add' : 'sub', before, width, flags)
      : compute('sub', 0n, before, width, flags);
    store(run, vaddr, width, after.value);
    run.cpu.flags = after.flags;
  });
}

/** movs, stos, with or without rep. */
function repeated({ instruction, cpu, bus }: Run): boolean {
  const { opcode, repeat, at, segment } = instruction;
  const width = (opcode & 1) === 0 ? 1 : widthOf(instruction);
  const isMove = opcode < 0xa8;
  const by = (cpu.flags & DF) === 0n ? BigInt(width) : BigInt(-width);
  const add = (number: number, value: bigint): void => cpu.set(number, BigInt.asUintN(64, cpu.get(number) + value));
  const rax = Uint8Array.from({ length: width }, (_, i) => Number((cpu.get(0) >> BigInt(8 * i)) & 0xffn));
  let left = repeat === 0 ? 1n : cpu.get(RCX);
  for (let done = 0; left > 0n && done < MOST_REPEATS; done++) {
    bus.store(cpu.get(RDI), isMove ? bus.load(cpu.segment(segment) + cpu.get(RSI), width) : rax);
    if (isMove) add(RSI, by);
    add(RDI, by);
    left--;
    if (repeat !== 0) cpu.set(RCX, left);
  }
  if (left === 0n) cpu.rip += BigInt(at);
  return true;
}
