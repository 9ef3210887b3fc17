import { beforeEach, describe, expect, it } from 'vitest';

import { int32s, newPart, wholeOf } from '../../../platform/shared.ts';
import { controlBytes, hartWords } from '../../../vmm/machine/control/control-block.ts';
import { type FarHartOptions, farHart } from '../../../vmm/machine/far-hart.ts';
import { Imsic, imsicBytes, pendingIn } from '../../../vmm/machine/hart-local/imsic.ts';
import { LEVELS } from '../../../vmm/machine/hart-local/interrupt-target.ts';
import { imsicPage, RAM_BASE, UART } from '../../../vmm/machine/shared/memory-map.ts';
import { encode, loadImmediate } from '../../guest/riscv/encode.ts';

const HARTS = 2;
const ME = 1;
const [A0, A1] = [10, 11];
const IDENTITY = 7;

let parts: Pick<FarHartOptions, 'control' | 'imsic'>;
let lines: Int32Array;
/** Addresses that only the owner of the shared devices reaches. */
let asked: number[];

beforeEach(() => {
  parts = { control: newPart(controlBytes(HARTS)), imsic: newPart(imsicBytes(HARTS)) };
  lines = int32s(parts.control);
  asked = [];
});

/** Hart 1 stores the identity to these addresses. */
function storesTo(...addresses: readonly number[]): void {
  const ram = new SharedArrayBuffer(65536);
  const program = [
    ...loadImmediate(A1, IDENTITY),
    ...addresses.flatMap((at) => [...loadImmediate(A0, at), encode('sw', { rs1: A0, rs2: A1 })]),
  ];
  new Int32Array(ram).set(program);
  const far = {
    load: () => undefined,
    store: (gpa: number) => asked.push(gpa) > 0,
  };
  const hart = farHart({
    ...{ number: ME, accel: 'golden', aia: true, semihosting: undefined },
    ...{ ram: wholeOf(ram), ...parts, far },
  });
  hart.engine.reset(RAM_BASE, 0n, 0n);
  hart.engine.run(program.length);
}

const pendingBits = (hart: number) => pendingIn(new Imsic(parts.imsic, lines, hart).save());

describe('a hart on a thread of its own', () => {
  it.each(LEVELS)('interrupts another by a store to its page of %s level, and wakes it', (level) => {
    storesTo(imsicPage(0, level).base);
    expect([pendingBits(0)[level][0], pendingBits(ME)[level][0]]).toEqual([1 << IDENTITY, 0]);
    expect([0, ME].map((hart) => lines[hartWords(hart).wake])).toEqual([1, 0]);
    expect(asked).toEqual([]);
  });

  it('interrupts itself, and asks the owner for what is no register of a hart', () => {
    storesTo(imsicPage(ME, 'supervisor').base, UART.base);
    expect([pendingBits(ME).supervisor[0], lines[hartWords(ME).wake], asked]).toEqual([1 << IDENTITY, 0, [UART.base]]);
  });
});
