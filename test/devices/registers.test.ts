import { describe, expect, it } from 'vitest';

import { MODELS } from '../../devices/board/device-types.ts';
import type { DeviceType } from '../../devices/kit/device.ts';
import { parseProperties } from '../../devices/kit/properties.ts';
import { widthOf } from '../../devices/kit/registers.ts';
import { Bench } from './bench.ts';

function mapOf(type: DeviceType) {
  const bar = type.bars(parseProperties(type.name, type.properties, {})).find(({ index }) => index === 0);
  if (bar?.kind !== 'registers' || !bar.registers) throw new Error(`${type.name}: no registers in BAR 0`);
  return bar.registers;
}

describe('the registers of a device, as declared', () => {
  it.each(MODELS)('of $folder: hold their reset values at power-on', ({ type }) => {
    const bench = new Bench(type).ready();
    const readable = Object.entries(mapOf(type).registers).flatMap(([name, register]) =>
      'reset' in register ? [{ name, reset: register.reset, register }] : [],
    );
    const read = readable.map(({ name, register }) => ({ name, lo: bench.halves(register.at, widthOf(register)).lo }));
    expect(read).toEqual(readable.map(({ name, reset }) => ({ name, lo: reset })));
  });

  it.each(MODELS)('of $folder: cannot be read where they can only be written', ({ type }) => {
    const bench = new Bench(type).ready();
    const { absent, registers } = mapOf(type);
    const writeOnly = Object.values(registers).filter(({ access }) => access === 'wo');
    const read = new Set(writeOnly.map((register) => bench.halves(register.at, widthOf(register)).lo));
    expect([...read]).toEqual(writeOnly.length === 0 ? [] : [absent === 'ones' ? 0xffff_ffff : 0]);
  });

  it.each(MODELS)('of $folder: read as declared where there is none', ({ type }) => {
    const bench = new Bench(type).ready();
    expect(bench.halves(0xf8, 4).lo).toBe(mapOf(type).absent === 'ones' ? 0xffff_ffff : 0);
  });
});
