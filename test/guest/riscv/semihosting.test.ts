import { describe, expect, it } from 'vitest';

import type { Semihosting } from '../../../guest/riscv/environment.ts';
import { AGAIN, SYS } from '../../../guest/riscv/semihosting.ts';
import { RAM_BASE } from './fixture.ts';
import { ALL } from './supervisor.ts';
import { Pair } from './translate/pair.ts';

/** slli x0, x0, 0x1f · ebreak · srai x0, x0, 7 · j . */
const CALL = [0x01f0_1013, 0x0010_0073, 0x4070_5013, 0x0000_006f];
const BLOCK = 0x1000;
const HANDLER = 0x800;
const BUFFER = 0x1ffe; // over the end of a page
const BREAKPOINT = 3n;

type Heard = readonly [operation: number, a: number, b: number, data: string];

class FakeHost implements Semihosting {
  readonly userspace: boolean;
  readonly data = new Uint8Array(16);
  readonly heard: Heard[] = [];
  answers: number[] = [];

  constructor(userspace = false) {
    this.userspace = userspace;
  }

  call(operation: number, a: number, b: number): number {
    this.heard.push([operation, a, b, Buffer.from(this.data).toString('latin1')]);
    if (operation === SYS.READ) this.data.fill(0x41, 0, b);
    return operation === SYS.FAIL ? -1 : (this.answers.shift() ?? 0);
  }
}

interface Given {
  readonly operation: number;
  readonly parameters?: readonly number[];
  readonly code?: readonly number[];
  readonly codeAt?: number;
  readonly mode?: number;
  readonly userspace?: boolean;
  readonly answers?: readonly number[];
}

/** Both engines make the call; what both hosts heard is the same. */
function call({ operation, parameters = [], code = CALL, codeAt = 0, mode = 3, userspace, answers = [] }: Given) {
  const hosts: FakeHost[] = [];
  const x = new Array<bigint>(31).fill(0n);
  x[9] = BigInt(operation);
  x[10] = BigInt(RAM_BASE + BLOCK);
  const pair = new Pair({
    words: { [codeAt]: code, [HANDLER]: [0x6f], [BLOCK]: parameters.flatMap((value) => [value, value < 0 ? -1 : 0]) },
    x,
    pc: RAM_BASE + codeAt,
    mtvec: BigInt(RAM_BASE + HANDLER),
    privileged: { mode },
    pmp: ALL,
    semihosting: () => {
      const host = new FakeHost(userspace);
      host.answers = [...answers];
      hosts.push(host);
      return host;
    },
  });
  pair.run(40).compare();
  const [first, second] = hosts;
  expect(second!.heard).toEqual(first!.heard);
  const { x: after, pc, mcause } = pair.interpreted.save();
  return { heard: first!.heard, a0: after[9], pc, mcause, ram: pair.rams[0] };
}

describe('a semihosting call', () => {
  it('passes numbers, and gives its result in a0', () => {
    const { heard, a0, pc } = call({ operation: SYS.FLEN, parameters: [3], answers: [77] });
    expect([heard.map(([op, a, b]) => [op, a, b]), a0, pc]).toEqual([[[SYS.FLEN, 3, 0]], 77n, RAM_BASE + 12]);
  });

  it('writes from memory, over pages, piece by piece; the result is what was not written', () => {
    const { heard, a0 } = call({
      operation: SYS.WRITE,
      parameters: [1, RAM_BASE + BUFFER, 20],
      answers: [16, 1],
    });
    expect(heard.map(([op, a, b]) => [op, a, b])).toEqual([
      [SYS.WRITE, 1, 16],
      [SYS.WRITE, 1, 4],
    ]);
    expect(heard[0]![3].charCodeAt(2)).toBe((0x2000 * 7) & 0xff);
    expect(a0).toBe(3n);
  });

  it('reads to memory, over pages', () => {
    const { a0, ram } = call({ operation: SYS.READ, parameters: [1, RAM_BASE + BUFFER, 6], answers: [5] });
    expect(a0).toBe(1n);
    expect(Buffer.from(ram.subarray(BUFFER, BUFFER + 5)).toString()).toBe('AAAAA');
    expect(ram[BUFFER + 5]).toBe(((BUFFER + 5) * 7) & 0xff);
  });

  it('is made again while the host has no room', () => {
    const { heard, a0 } = call({ operation: SYS.WRITEC, answers: [AGAIN, AGAIN, 1] });
    expect([heard.length, a0]).toEqual([3, 0n]);
  });

  it('fails with EFAULT where its parameters are not in memory', () => {
    const { heard, a0 } = call({ operation: SYS.WRITE, parameters: [1, 0x1000, 4] });
    expect([heard.map(([op, a]) => [op, a]), a0]).toEqual([[[SYS.FAIL, 14]], -1n]);
  });

  it('stops the hart when it ends the machine', () => {
    const { heard, pc } = call({ operation: SYS.EXIT, parameters: [0x20026, 5] });
    expect([heard.map(([op, a]) => [op, a]), pc]).toEqual([[[SYS.EXIT, 5]], RAM_BASE + 8]);
  });

  it('has status 1 for the end by another reason', () => {
    expect(call({ operation: SYS.EXIT, parameters: [0x20023, 5] }).heard[0]!.slice(0, 2)).toEqual([SYS.EXIT, 1]);
  });

  it('may come from U mode only where the user has said so', () => {
    const [refused, allowed] = [false, true].map((userspace) =>
      call({ operation: SYS.CLOCK, mode: 0, userspace, answers: [9] }),
    );
    expect([refused!.heard, refused!.mcause]).toEqual([[], BREAKPOINT]);
    expect(allowed!.a0).toBe(9n);
  });

  it.each([
    { what: 'without the instruction before', code: [0x13, ...CALL.slice(1)], codeAt: 0 },
    { what: 'without the instruction after', code: [...CALL.slice(0, 2), 0x13, 0x6f], codeAt: 0 },
    { what: 'in two pages', code: CALL, codeAt: 0xff8 },
  ])('is an ordinary EBREAK $what', ({ code, codeAt }) => {
    expect(call({ operation: SYS.CLOCK, code, codeAt }).mcause).toBe(BREAKPOINT);
  });
});
