/**
 * What a hostile program may put where its instruction is. That known instructions do as the CPU
 * does is tried by instructions.c.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';

import { efault } from '../../../../platform/errno.ts';
import { NR_USER_REGS, USER_FPREGS_BYTES } from '../../../../platform/libc/ptrace.ts';
import type { Bus } from '../../../../tools/with/faults/x64/bus.ts';
import { Cpu, RCX, RDI } from '../../../../tools/with/faults/x64/cpu.ts';
import { execute } from '../../../../tools/with/faults/x64/execute.ts';

const MOST_ACCESSES = 2048;
const XSAVE_BYTES = 832;

function machine(values: readonly bigint[] = []) {
  const accesses: string[] = [];
  const bus: Bus = {
    load(vaddr, width) {
      accesses.push(`load ${vaddr} ${width}`);
      return new Uint8Array(width).fill(0x80);
    },
    store: (vaddr, bytes) => void accesses.push(`store ${vaddr} ${bytes.length}`),
  };
  const floats = {
    read: () => new Uint8Array(USER_FPREGS_BYTES),
    write: () => undefined,
    readWhole: () => new Uint8Array(XSAVE_BYTES),
    writeWhole: () => undefined,
  };
  const regs = new BigUint64Array(NR_USER_REGS);
  values.forEach((value, i) => {
    regs[i] = value;
  });
  return { accesses, bus, cpu: new Cpu(regs, floats) };
}

it('executes any bytes or says that it cannot, and has changed nothing then', () => {
  const bytes = fc.uint8Array({ maxLength: 15 });
  const likely = fc
    .tuple(fc.constantFrom(0x66, 0xf2, 0xf3, 0x48, 0x4f, 0x0f, 0xc4, 0xc5), bytes)
    .map(([first, rest]) => Uint8Array.of(first, ...rest));
  const regs = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: NR_USER_REGS });
  fc.assert(
    fc.property(fc.oneof(bytes, likely), regs, (code, values) => {
      const { accesses, bus, cpu } = machine(values);
      const before = cpu.regs.slice();
      const done = execute(code, cpu, bus);
      expect(accesses.length).toBeLessThanOrEqual(MOST_ACCESSES);
      if (!done) expect([accesses, cpu.regs]).toEqual([[], before]);
    }),
    { numRuns: 5000 },
  );
});

it('does the longest repetition in parts, and each time says how much is left', () => {
  const { accesses, bus, cpu } = machine();
  cpu.set(RCX, 3000n);
  cpu.set(RDI, 0x1000n);
  const repStosb = Uint8Array.of(0xf3, 0xaa);
  const rips: bigint[] = [];
  while (cpu.get(RCX) > 0n) {
    execute(repStosb, cpu, bus);
    rips.push(cpu.rip);
  }

  expect([accesses.length, cpu.get(RDI), rips]).toEqual([3000, 0x1000n + 3000n, [0n, 0n, 2n]]);
});

it('leaves the registers as they were when the access fails', () => {
  const { cpu } = machine([1n, 2n, 3n]);
  const before = cpu.regs.slice();
  const fails = (): never => {
    throw efault('gone');
  };
  const addToMemory = Uint8Array.of(0x01, 0x07); // add %eax,(%rdi)
  expect(() => execute(addToMemory, cpu, { load: fails, store: fails })).toThrow('gone');
  expect(cpu.regs).toEqual(before);
});
