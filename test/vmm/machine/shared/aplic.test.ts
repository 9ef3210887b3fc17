import { beforeEach, describe, expect, it } from 'vitest';

import { Aplic } from '../../../../vmm/machine/shared/aplic.ts';

/** AIA 1.0 §4. */

const FILES_M = 0x2400_0000;
const FILES_S = 0x2800_0000;
const SOURCECFG = 0;
const [SETIP, IN_CLRIP, SETIE, CLRIE] = [0x1c00, 0x1d00, 0x1e00, 0x1f00];
const [SETIPNUM, CLRIPNUM, SETIENUM] = [0x1cdc, 0x1ddc, 0x1edc];
const TARGET = 0x3000;
const [EDGE, LEVEL, LEVEL_LOW, DELEGATED] = [4, 6, 7, 0x400];
const UART = 10;

let aplic: Aplic;
let sent: [number, number][];
let completed: number[];

const newAplic = () =>
  new Aplic({
    send: (gpa, identity) => sent.push([gpa, identity]),
    completed: (source) => completed.push(source),
  });

beforeEach(() => {
  sent = [];
  completed = [];
  aplic = newAplic();
  write('machine', 0x1bc0, FILES_M / 4096);
  write('machine', 0x1bc4, 3 << 12); // 8 harts
  write('machine', 0x1bc8, FILES_S / 4096);
  for (const level of ['machine', 'supervisor'] as const) write(level, 0, 0x100);
});

type Level = 'machine' | 'supervisor';
const write = (level: Level, at: number, value: number) => aplic.registers(level).store(at, 4, BigInt(value >>> 0), 0);
const read = (level: Level, at: number) => Number(aplic.registers(level).load(at, 4));

/** The source sends this identity to this hart. */
function program(level: Level, source: number, mode: number, hart = 0): void {
  write(level, SOURCECFG + 4 * source, mode);
  write(level, TARGET + 4 * source, (hart << 18) | (100 + source));
  write(level, SETIENUM, source);
}

describe('an APLIC', () => {
  it('sends a message for each rise of an edge', () => {
    program('machine', UART, EDGE, 2);
    for (const up of [true, true, false, true]) aplic.setLevel(UART, up);
    expect(sent).toEqual([
      [FILES_M + 0x2000, 110],
      [FILES_M + 0x2000, 110],
    ]);
  });

  it('sends a message for a level that rises, and another when software asks while it is up', () => {
    program('machine', UART, LEVEL);
    aplic.setLevel(UART, true);
    write('machine', SETIPNUM, UART);
    aplic.setLevel(UART, false);
    write('machine', SETIPNUM, UART); // it is down
    expect(sent).toEqual([
      [FILES_M, 110],
      [FILES_M, 110],
    ]);
  });

  it('tells who holds a level up that software has served it, before it looks at the level again', () => {
    program('machine', UART, LEVEL);
    program('machine', 11, EDGE);
    for (const source of [UART, 11, 12]) write('machine', SETIPNUM, source);
    expect(completed).toEqual([UART]); // 11 is no level, 12 is inactive
  });

  it('forgets a level that falls before it could send', () => {
    program('machine', UART, LEVEL);
    write('machine', CLRIE, 1 << UART);
    aplic.setLevel(UART, true);
    expect([read('machine', SETIP), read('machine', IN_CLRIP), read('machine', SETIE)]).toEqual([
      1 << UART,
      1 << UART,
      0,
    ]);
    aplic.setLevel(UART, false);
    write('machine', SETIENUM, UART);
    expect([sent, read('machine', SETIP)]).toEqual([[], 0]);
  });

  it('takes a level that is low as up', () => {
    program('machine', UART, LEVEL_LOW);
    aplic.setLevel(UART, true);
    aplic.setLevel(UART, false);
    expect(sent).toEqual([
      [FILES_M, 110], // it was up from the beginning
      [FILES_M, 110],
    ]);
  });

  it('gives the source that the root delegates to its child', () => {
    program('supervisor', UART, EDGE, 1); // it is not its own yet
    expect(read('supervisor', SOURCECFG + 4 * UART)).toBe(0);
    write('machine', SOURCECFG + 4 * UART, DELEGATED);
    program('supervisor', UART, EDGE, 1);
    write('machine', SETIENUM, UART);
    aplic.setLevel(UART, true);
    expect([sent, read('machine', SETIE)]).toEqual([[[FILES_S + 0x1000, 110]], 0]);
    write('machine', SOURCECFG + 4 * UART, EDGE);
    expect(read('supervisor', SETIE)).toBe(0);
  });

  it('holds everything back while a domain is off', () => {
    write('machine', 0, 0);
    program('machine', UART, EDGE);
    aplic.setLevel(UART, true);
    expect([sent, read('machine', 0) >>> 0]).toEqual([[], 0x8000_0004]);
    write('machine', 0, 0x100);
    expect(sent).toEqual([[FILES_M, 110]]);
  });

  it('sends what software writes to genmsi, and keeps addresses that are locked', () => {
    write('machine', 0x1bc4, 0x8000_0000 | (3 << 12));
    write('machine', 0x1bc0, 1);
    write('supervisor', 0x1bc8, 1);
    write('supervisor', 0x3000, (3 << 18) | 7);
    expect([sent, read('supervisor', 0x1bc8)]).toEqual([[[FILES_S + 0x3000, 7]], 0]);
  });

  it('has no source 0 and none beyond 96, and takes words only', () => {
    for (const source of [0, 97, 1023]) program('machine', source, EDGE);
    expect([read('machine', SETIE), read('machine', 0x1e0c), read('machine', SOURCECFG + 4 * 97)]).toEqual([0, 0, 0]);
    expect([aplic.registers('machine').load(0, 2), aplic.registers('machine').store(0, 1, 0n, 0)]).toEqual([
      undefined,
      false,
    ]);
  });

  it('sends what a wire has done since its state was saved, and nothing else again', () => {
    for (const source of [UART, 11, 12]) program('machine', source, LEVEL);
    for (const source of [UART, 11]) aplic.setLevel(source, true);
    const saved = aplic.save();
    sent = [];
    aplic = newAplic();
    for (const source of [UART, 12]) aplic.setLevel(source, true); // 11 has fallen, 12 has risen
    aplic.restore(saved);
    expect(sent).toEqual([[FILES_M, 112]]);
    aplic.setLevel(11, true);
    expect(sent.slice(1)).toEqual([[FILES_M, 111]]);
  });

  it('goes on from its state with what is pending', () => {
    program('machine', UART, EDGE);
    write('machine', CLRIE, 1 << UART);
    aplic.setLevel(UART, true);
    const saved = aplic.save();
    aplic = newAplic();
    aplic.setLevel(UART, true); // by the device, which was restored before
    aplic.restore(saved);
    expect([aplic.save(), sent]).toEqual([saved, []]);
    write('machine', SETIENUM, UART);
    expect(sent).toEqual([[FILES_M, 110]]);
    write('machine', CLRIPNUM, UART);
    aplic.reset();
    expect(read('machine', SOURCECFG + 4 * UART)).toBe(0);
  });
});
