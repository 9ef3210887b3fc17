/** MSI-X of a function (PCI 3.0 §6.8.2, §6.8.3; docs/machine.md, "Configuration space"). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { device as capture } from '../../../devices/capture/device.ts';
import { device as edu } from '../../../devices/edu/device.ts';
import { REG } from '../../../devices/edu/regs.ts';
import { Bench } from '../bench.ts';

const CAP = 0x50; // behind MSI
const BAR = 1;
const PBA = 0x800;
const MESSAGE = 0xfee0_1000;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;

/** edu, whose IRQ_RAISE of bit n raises vector n. */
class MsixBench extends Bench {
  constructor(vectors: number, more: Readonly<Record<string, string>> = {}) {
    super(edu, { msix: String(vectors), ...more });
    this.ready();
    this.memory.back(MESSAGE, MESSAGE + 4096);
  }

  setControl(value: number): void {
    this.configWrite(CAP + 2, 2, value);
  }

  entry(vector: number, at: number): number {
    return this.endpoint.read(BAR, 16 * vector + at, 4).lo;
  }

  setEntry(vector: number, at: number, value: number): void {
    this.endpoint.write(BAR, 16 * vector + at, 4, value, 0);
  }

  /** Vector n has data n. Programmed and not masked. */
  program(vector: number): void {
    this.setEntry(vector, 0, MESSAGE);
    this.setEntry(vector, 8, vector);
    this.setEntry(vector, 12, 0);
  }

  raise(vector: number): void {
    this.setReg(REG.IRQ_RAISE, 2 ** vector);
  }

  pending(): number {
    return this.endpoint.read(BAR, PBA, 4).lo;
  }

  /** The data of the messages sent since the last call. */
  sent(): number[] {
    return this.memory.log.splice(0).map((line) => Number(line.split('=')[1]));
  }
}

describe('the capability and the table', () => {
  it('says how many vectors there are, and where table and array lie', () => {
    const bench = new MsixBench(8);
    expect([0, 4, 8].map((at) => bench.config(CAP + at, 4))).toEqual([0x0007_0011, 0x0000_0001, 0x0000_0801]);
    expect(new Bench(capture).config(0x41, 1)).toBe(0);
  });

  it('is masked at power-on, keeps address and data, and of the control only the mask bit', () => {
    const bench = new MsixBench(2);
    expect([0, 4, 8, 12].map((at) => bench.entry(1, at))).toEqual([0, 0, 0, 1]);
    for (const at of [0, 4, 8, 12]) bench.setEntry(1, at, 0xffff_fffe);
    expect([0, 4, 8, 12].map((at) => bench.entry(1, at))).toEqual([0xffff_fffe, 0xffff_fffe, 0xffff_fffe, 0]);
  });

  it('of its control register only enable and mask can be written', () => {
    const bench = new MsixBench(2);
    bench.setControl(0xffff);
    expect(bench.config(CAP + 2, 2)).toBe(ENABLE | MASK_ALL | 1);
  });

  it('does not answer accesses that are too small, nor behind the table', () => {
    const bench = new MsixBench(2);
    bench.endpoint.write(BAR, 0, 1, 0xff, 0);
    bench.endpoint.write(BAR, 0x20, 4, 0xff, 0);
    bench.endpoint.write(BAR, PBA, 4, 0xff, 0);
    expect([bench.entry(0, 0), bench.entry(2, 0), bench.pending()]).toEqual([0, 0, 0]);
  });

  it('is as at power-on after a reset of the function', () => {
    const bench = new MsixBench(2, { flr: 'on' });
    bench.program(1);
    bench.setControl(ENABLE);
    bench.raise(0);
    bench.configWrite(0x60, 1, 1);
    bench.ready();
    expect([bench.entry(1, 0), bench.entry(1, 12), bench.pending(), bench.config(CAP + 2, 2)]).toEqual([0, 1, 0, 1]);
  });
});

describe('messages', () => {
  it('each vector stores its own data; a vector beyond the last is the last', () => {
    const bench = new MsixBench(3);
    for (const vector of [0, 1, 2]) bench.program(vector);
    bench.setControl(ENABLE);
    for (const vector of [0, 1, 2, 8]) bench.raise(vector);
    expect(bench.sent()).toEqual([0, 1, 2, 2]);
    expect(bench.line.edges).toEqual([]);
  });

  it('a masked one pends once, and is sent when the mask of its vector is lifted', () => {
    const bench = new MsixBench(2);
    for (const vector of [0, 1]) bench.program(vector);
    bench.setControl(ENABLE);
    bench.setEntry(1, 12, 1);
    for (const vector of [1, 1, 0]) bench.raise(vector);
    const masked = { sent: bench.sent(), pending: bench.pending(), meant: bench.control.interrupts() };
    bench.setEntry(1, 12, 0);

    expect(masked).toEqual({ sent: [0], pending: 2, meant: 2 });
    expect({ sent: bench.sent(), pending: bench.pending() }).toEqual({ sent: [1], pending: 0 });
  });

  it('all pend while the function is masked', () => {
    const bench = new MsixBench(2);
    for (const vector of [0, 1]) bench.program(vector);
    bench.setControl(ENABLE | MASK_ALL);
    for (const vector of [1, 0]) bench.raise(vector);
    const masked = { sent: bench.sent(), pending: bench.pending() };
    bench.setControl(ENABLE);

    expect(masked).toEqual({ sent: [], pending: 3 });
    expect({ sent: bench.sent(), pending: bench.pending() }).toEqual({ sent: [0, 1], pending: 0 });
  });

  it('without MSI-X enabled there is the level, and nothing pends', () => {
    const bench = new MsixBench(2);
    bench.program(0);
    bench.raise(0);
    expect({ sent: bench.sent(), pending: bench.pending(), level: bench.line.level }).toEqual({
      ...{ sent: [], pending: 0, level: true },
    });
    bench.setControl(ENABLE);
    expect(bench.line.level).toBe(false);
  });

  it('capture has a vector for each of its events', () => {
    const bench = new Bench(capture, { msix: '3' }).ready();
    bench.memory.back(MESSAGE, MESSAGE + 4096);
    for (const vector of [0, 1, 2]) {
      bench.endpoint.write(BAR, 16 * vector, 4, MESSAGE, 0);
      bench.endpoint.write(BAR, 16 * vector + 8, 4, vector, 0);
      bench.endpoint.write(BAR, 16 * vector + 12, 4, 0, 0);
    }
    bench.configWrite(CAP + 2, 2, ENABLE);
    bench.setReg(0x04, 5); // RUN and IRQ_ENABLE with no ring: a fault
    expect(bench.memory.log).toEqual([`store 0x${MESSAGE.toString(16)}=0x2`]);
  });
});

describe('a model of it', () => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('raise' as const), vector: fc.nat(3) }),
    fc.record({ op: fc.constant('mask' as const), vector: fc.nat(3) }),
    fc.record({ op: fc.constant('unmask' as const), vector: fc.nat(3) }),
    fc.record({ op: fc.constantFrom('mask all' as const, 'unmask all' as const), vector: fc.constant(0) }),
  );

  it('sends what is not masked, and keeps one of each that is', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const bench = new MsixBench(4);
        for (const vector of [0, 1, 2, 3]) bench.program(vector);
        bench.setControl(ENABLE);
        const masked = new Set<number>();
        const pending = new Set<number>();
        let all = false;
        for (const { op, vector } of steps) {
          const expected: number[] = [];
          if (op === 'raise') {
            bench.raise(vector);
            pending.add(vector);
          } else if (op === 'mask' || op === 'unmask') {
            bench.setEntry(vector, 12, op === 'mask' ? 1 : 0);
            if (op === 'mask') masked.add(vector);
            else masked.delete(vector);
          } else {
            all = op === 'mask all';
            bench.setControl(all ? ENABLE | MASK_ALL : ENABLE);
          }
          for (const one of [...pending].sort()) {
            if (all || masked.has(one)) continue;
            pending.delete(one);
            expected.push(one);
          }
          expect(bench.sent()).toEqual(expected);
          expect(bench.pending()).toBe([...pending].reduce((bits, one) => bits | (1 << one), 0));
        }
      }),
    );
  });
});
