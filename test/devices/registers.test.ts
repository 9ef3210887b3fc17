import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { MODELS } from '../../devices/board/device-types.ts';
import type { DeviceType } from '../../devices/kit/device.ts';
import { parseProperties } from '../../devices/kit/properties.ts';
import { widthOf } from '../../devices/kit/registers.ts';
import { Bench } from './bench.ts';

let drive: string;
beforeAll(() => {
  drive = join(mkdtempSync(join(tmpdir(), 'livevmm-registers-')), 'drive');
  writeFileSync(drive, '');
});
afterAll(() => rmSync(dirname(drive), { recursive: true }));

/** Clients that open nothing. */
const BACKENDS = {
  netdev: 'stream,id=n,addr.path=none',
  chardev: 'socket,id=c,path=none',
  fsdev: 'local,id=f,path=/,readonly=on',
};

/** The registers of its first BAR, and how they are read. */
function mapOf(type: DeviceType) {
  const given = { 'virtio-blk': { drive, locking: 'off' }, 'virtio-9p': { mount_tag: 'share' } }[type.name] ?? {};
  const properties = parseProperties(type.name, type.properties, given);
  const [bar] = type.bars(properties);
  if (bar?.kind !== 'registers' || !bar.registers) throw new Error(`${type.name}: no registers in its first BAR`);
  const backend = type.backend ? BACKENDS[type.backend] : '';
  const { fds } = type.open?.(properties, backend) ?? { fds: [] };
  const { endpoint } = new Bench(type, {}, { fds, backend }).ready();
  return { ...bar.registers, read: (at: number, size: number) => endpoint.read(bar.index, at, size).lo };
}

describe('the registers of a device, as declared', () => {
  it.each(MODELS)('of $folder: hold their reset values at power-on', ({ type }) => {
    const { registers, read: from } = mapOf(type);
    const readable = Object.entries(registers).flatMap(([name, register]) =>
      'reset' in register ? [{ name, reset: register.reset, register }] : [],
    );
    const read = readable.map(({ name, register }) => ({ name, lo: from(register.at, widthOf(register)) }));
    expect(read).toEqual(readable.map(({ name, reset }) => ({ name, lo: reset })));
  });

  it.each(MODELS)('of $folder: cannot be read where they can only be written', ({ type }) => {
    const { absent, registers, read: from } = mapOf(type);
    const writeOnly = Object.values(registers).filter(({ access }) => access === 'wo');
    const read = new Set(writeOnly.map((register) => from(register.at, widthOf(register))));
    expect([...read]).toEqual(writeOnly.length === 0 ? [] : [absent === 'ones' ? 0xffff_ffff : 0]);
  });

  it.each(MODELS)('of $folder: read as declared where there is none', ({ type }) => {
    const { absent, read } = mapOf(type);
    expect(read(0xf8, 4)).toBe(absent === 'ones' ? 0xffff_ffff : 0);
  });
});
