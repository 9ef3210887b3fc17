import { beforeEach, describe, expect, it } from 'vitest';

import { newPart, type SharedPart } from '../../../../platform/shared.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput, outputProgress } from '../../../../vmm/machine/shared/console-output.ts';
import { Uart } from '../../../../vmm/machine/shared/uart.ts';

let written: string;
let blocked: boolean;
let input: ConsoleInput;
let words: SharedPart;
let output: ConsoleOutput;
let uart: Uart;

function newUart({ steady = false } = {}): Uart {
  const write = (bytes: Uint8Array): number => {
    if (blocked) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' });
    written += Buffer.from(bytes).toString();
    return bytes.length;
  };
  output = new ConsoleOutput(words, write, { steady });
  return new Uart(input, output);
}

beforeEach(() => {
  written = '';
  blocked = false;
  input = new ConsoleInput(newPart(CONSOLE_INPUT_BYTES));
  words = newPart(CONSOLE_OUTPUT_BYTES);
  uart = newUart();
});

const read = (offset: number): number => Number(uart.load(offset, 1));
const write = (offset: number, value: number): boolean => uart.store(offset, 1, BigInt(value));
const print = (text: string): void => {
  for (const byte of Buffer.from(text)) write(0, byte);
};

/** docs/machine.md, "UART", recorded in virt-platform.qtest. */
describe('UART 16550', () => {
  it('has the recorded reset values', () => {
    expect([1, 2, 3, 4, 5, 6, 7].map(read)).toEqual([0, 1, 0, 8, 0x60, 0xb0, 0]);
  });

  it('keeps scratch, and shows the divisor while DLAB is set', () => {
    write(7, 0x5a);
    expect(read(7)).toBe(0x5a);
    write(3, 0x83);
    write(0, 1);
    write(1, 0);
    expect(read(0)).toBe(1);
    write(3, 3);
    expect(read(3)).toBe(3);
    expect(written).toBe('');
  });

  it('says THR empty at once when that interrupt is enabled, and forgets it when IIR is read', () => {
    write(1, 2);
    expect(read(2)).toBe(2);
    expect(read(2)).toBe(1);
    print('x');
    expect(read(2)).toBe(2);
  });

  it('shows received bytes in LSR, IIR and RBR, in order', () => {
    input.push(Buffer.from('ab'));
    write(1, 1);
    expect(read(5) & 1).toBe(1);
    expect(read(2)).toBe(4);
    expect([read(0), read(0)]).toEqual([0x61, 0x62]);
    expect(read(5) & 1).toBe(0);
    expect(read(2)).toBe(1);
  });

  it('loops its modem lines back', () => {
    write(4, 0x10 | 0x0b);
    expect(read(6)).toBe(0x80 | 0x20 | 0x10);
  });

  it('writes whole lines, and is busy while nobody takes them', () => {
    print('hello\n');
    expect(written).toBe('hello\n');
    blocked = true;
    print('x'.repeat(4096));
    expect(read(5) & 0x60).toBe(0);
    blocked = false;
    print('\n');
    expect(written).toBe(`hello\n${'x'.repeat(4096)}\n`);
    expect(read(5) & 0x60).toBe(0x60);
  });

  it('holds whole lines, too, until it is told to write', () => {
    output.hold(true);
    print('hello\n');
    expect([written, output.due]).toEqual(['', true]);
    output.flush();
    expect([written, output.due]).toEqual(['hello\n', false]);
    expect(outputProgress(words)).toEqual({ sent: 6, writing: 0 });
  });

  it('says in shared words what stdout has taken and what a write was given', () => {
    const during: unknown[] = [];
    const counting = new ConsoleOutput(words, (bytes) => {
      during.push(outputProgress(words));
      return Math.min(bytes.length, 4);
    });
    for (const byte of Buffer.from('hello\n')) counting.put(byte);
    expect(during).toEqual([
      { sent: 0, writing: 6 },
      { sent: 4, writing: 2 },
    ]);
    expect(outputProgress(words)).toEqual({ sent: 6, writing: 0 });
  });

  it('never shows a guest that runs in the same way each time how fast stdout is', () => {
    uart = newUart({ steady: true });
    blocked = true;
    print(`${'x'.repeat(4096)}`);
    expect([output.blocks, read(5) & 0x60]).toEqual([true, 0x60]);
    blocked = false;
    output.flush();
    expect([output.blocks, written.length]).toEqual([false, 4096]);
  });

  it('goes on from a saved state: registers, and the bytes nobody has taken', () => {
    write(1, 3);
    write(7, 0x77);
    blocked = true;
    print('half a li');
    const state = structuredClone(uart.save());
    uart = newUart();
    blocked = false;
    uart.restore(state);
    print('ne\n');
    expect(written).toBe('half a line\n');
    expect([read(1), read(7)]).toEqual([3, 0x77]);
  });
});

describe('console input', () => {
  it('can be heard at certain moments only', () => {
    const ring = newPart(CONSOLE_INPUT_BYTES);
    const heard = new ConsoleInput(ring, { hears: true });
    new ConsoleInput(ring).push(Buffer.from('abc'));
    const before = [heard.ready(), heard.take()];
    heard.hear();
    new ConsoleInput(ring).push(Buffer.from('d'));
    heard.take();
    expect([...before, heard.waiting]).toEqual([false, undefined, 2]);
    heard.release();
    const next = new ConsoleInput(ring, { hears: true });
    next.hearAgain(2);
    expect([next.take(), next.take(), next.take()]).toEqual([0x62, 0x63, undefined]);
  });

  it('takes what fits, asks for more when half is read, keeps the order', () => {
    const text = Buffer.from(Array.from({ length: 6000 }, (_, i) => i & 0xff));
    expect(input.push(text)).toBe(4096);
    expect(input.roomWanted()).toBe(false);
    const got = [...takeAll(2048)];
    expect(input.roomWanted()).toBe(true);
    expect(input.roomWanted()).toBe(false);
    expect(input.push(text.subarray(4096))).toBe(6000 - 4096);
    expect(Buffer.from(input.peek())).toEqual(text.subarray(2048));
    got.push(...takeAll(6000 - 2048));
    expect(Buffer.from(got)).toEqual(text);
    expect(input.take()).toBeUndefined();
  });

  it('keeps bytes that were taken until they are released', () => {
    input.push(Buffer.alloc(4096, 'abc'));
    const { taken } = input;
    expect([input.take(), input.take()]).toEqual([0x61, 0x62]);
    expect(input.push(Buffer.from('x'))).toBe(0);
    expect(Buffer.from(input.after(taken)).toString('latin1', 0, 4)).toBe('abca');
    input.release();
    expect(input.push(Buffer.from('xyz'))).toBe(2);
    expect(input.peek()).toHaveLength(4096);
    expect([input.taken, input.starved]).toEqual([2, true]);
  });
});

/** As in a slice, whose end releases what was taken. */
function takeAll(count: number): number[] {
  const bytes = Array.from({ length: count }, () => input.take()!);
  input.release();
  return bytes;
}

/** docs/machine.md, "UART". */
describe("the UART's interrupt", () => {
  let levels: boolean[];
  beforeEach(() => {
    levels = [];
    uart = new Uart(input, output, (up) => levels.push(up));
  });

  it('follows IIR: transmitter empty, then nothing', () => {
    write(1, 2);
    expect([levels, read(2), levels]).toEqual([[true, false], 2, [true, false]]);
  });

  it('is up from the update after a byte came until all are read', () => {
    write(1, 1);
    input.push(Buffer.from('ab'));
    uart.update();
    expect(levels).toEqual([true]);
    read(0);
    expect(levels).toEqual([true]);
    read(0);
    expect(levels).toEqual([true, false]);
  });

  it('says time-out for fewer bytes than the trigger level, with the FIFO on', () => {
    write(1, 1);
    write(2, 0x81);
    input.push(Buffer.from('1234567'));
    expect(read(2)).toBe(0xcc);
    input.push(Buffer.from('8'));
    expect(read(2)).toBe(0xc4);
  });

  it('waits with transmitter empty until stdout takes bytes again', () => {
    write(1, 2);
    read(2);
    blocked = true;
    print('x'.repeat(4096));
    expect([levels.at(-1), read(2)]).toEqual([false, 1]);
    blocked = false;
    output.flush();
    uart.update();
    expect([levels.at(-1), read(2)]).toEqual([true, 2]);
  });

  it('comes up again in the machine that goes on from a saved state', () => {
    write(1, 1);
    input.push(Buffer.from('a'));
    const state = structuredClone(uart.save());
    levels = [];
    uart = new Uart(input, output, (up) => levels.push(up));
    uart.restore(state);
    expect(levels).toEqual([true]);
  });
});
