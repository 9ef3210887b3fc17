import { beforeEach, describe, expect, it } from 'vitest';

import { APLIC, IMSIC, UART, UART_IRQ } from '../../../../vmm/machine/shared/memory-map.ts';
import { BareMachine } from '../bare-machine.ts';

/** docs/machine.md, "APLIC": wires of a machine whose interrupts are messages. */

const [DOMAINCFG, SOURCECFG, MMSIADDRCFG, SETIPNUM, SETIENUM, TARGET] = [0, 0, 0x1bc0, 0x1cdc, 0x1edc, 0x3000];
const LEVEL_HIGH = 6;
const IDENTITY = 5;
const RECEIVED_DATA = 1;

let bare: BareMachine;
const newMachine = () => new BareMachine({ ramBytes: 4 << 20, aia: 'aplic-imsic', aplic: true, harts: 2 });

const store = (gpa: number, size: 1 | 4, value: number) => bare.machine.shared.bus.store(gpa, size, BigInt(value), 0);
const load = (gpa: number) => Number(bare.machine.shared.bus.load(gpa, 1));
const files = () => bare.machine.harts.map(({ imsic }) => imsic.save().pending[0]!);
const clear = () => {
  for (const { imsic } of bare.machine.harts) imsic.reset();
};

/** The UART's source sends messages to `hart`. */
function wireUart(hart: number): void {
  store(APLIC.machine.base + MMSIADDRCFG, 4, IMSIC.machine.base / 4096);
  store(APLIC.machine.base + MMSIADDRCFG + 4, 4, 1 << 12); // two harts
  store(APLIC.machine.base + SOURCECFG + 4 * UART_IRQ, 4, LEVEL_HIGH);
  store(APLIC.machine.base + TARGET + 4 * UART_IRQ, 4, (hart << 18) | IDENTITY);
  store(APLIC.machine.base + SETIENUM, 4, UART_IRQ);
  store(APLIC.machine.base + DOMAINCFG, 4, 0x100);
  store(UART.base + 1, 1, RECEIVED_DATA);
}

function type(text: string): void {
  bare.input.push(Buffer.from(text));
  bare.machine.shared.update();
}

beforeEach(() => {
  bare = newMachine();
});

describe('a wire to the APLIC', () => {
  it.each([
    [0, [1 << IDENTITY, 0]],
    [1, [0, 1 << IDENTITY]],
  ])('becomes a message to the interrupt file of hart %i', (hart, pending) => {
    wireUart(hart);
    type('a');
    expect(files()).toEqual(pending);
  });

  it('sends another message where software asks while it is up, and only then', () => {
    wireUart(0);
    type('a');
    clear();
    store(APLIC.machine.base + SETIPNUM, 4, UART_IRQ);
    expect(files()).toEqual([1 << IDENTITY, 0]);
    clear();
    load(UART.base);
    store(APLIC.machine.base + SETIPNUM, 4, UART_IRQ);
    expect(files()).toEqual([0, 0]);
  });

  it('sends nothing to where there is no interrupt file', () => {
    wireUart(0);
    store(APLIC.machine.base + MMSIADDRCFG, 4, APLIC.machine.base / 4096);
    expect(() => type('a')).not.toThrow();
    expect(files()).toEqual([0, 0]);
  });

  it('that is up is told once, over an update, too', () => {
    wireUart(0);
    type('a');
    const saved = bare.machine.save();
    bare = newMachine();
    bare.input.push(Buffer.from('a'));
    bare.machine.restore(saved);
    bare.machine.shared.update();
    expect(files()).toEqual([0, 0]);
    load(UART.base);
    type('b');
    expect(files()).toEqual([1 << IDENTITY, 0]);
  });
});
