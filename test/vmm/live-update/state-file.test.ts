import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';
import { monotonicNs } from '../../../platform/clock.ts';
import { decodeAll } from '../../../vmm/live-update/decoded-state.ts';
import { formOf, RELEASES } from '../../../vmm/live-update/releases.ts';
import { decodeState, encodeState } from '../../../vmm/live-update/state-file.ts';
import { SURVIVORS, versionIn } from '../../../vmm/live-update/survivors.ts';

const two = { alpha: { version: 1, n: 5n, bytes: new Uint8Array([1, 2]) }, beta: { version: 7, list: ['x', null] } };

describe('state file', () => {
  it('gives back what was put in, with versions and the time when it was complete', () => {
    const before = monotonicNs();
    const { completeNs, sections } = decodeState(encodeState(two));
    expect(completeNs).toBeGreaterThanOrEqual(before);
    expect(completeNs).toBeLessThanOrEqual(monotonicNs());
    expect([...sections.keys()]).toEqual(['alpha', 'beta']);
    expect(sections.get('alpha')).toEqual({ ...two.alpha, bytes: Buffer.from([1, 2]) });
    expect(sections.get('beta')).toEqual(two.beta);
  });

  it('refuses what is not a state, or one of another format', () => {
    expect(() => decodeState(new Uint8Array(100))).toThrow('not the state of a livevmm');
    const bytes = Buffer.from(encodeState(two));
    bytes.writeUInt32LE(2, 8);
    expect(() => decodeState(bytes)).toThrow('state of format 2, this build knows 1');
  });

  it('finds every flipped bit in a section, and names the section', () => {
    const pristine = encodeState({ alpha: two.alpha });
    const used = 24 + 48 + (pristine[24 + 36] ?? 0);
    for (let at = 24 + 32; at < used; at++) {
      const bytes = Uint8Array.from(pristine);
      bytes[at]! ^= 1 << (at % 8);
      if (at >= 24 + 44 && at < 24 + 48) continue; // reserved
      expect(() => decodeState(bytes), `byte ${at}`).toThrow(/^section alpha: (checksum|is cut short)/);
    }
  });

  it('refuses a state that is cut short', () => {
    const bytes = encodeState(two);
    expect(() => decodeState(bytes.subarray(0, bytes.length - 16))).toThrow(/^section beta: is cut short/);
    expect(() => decodeState(bytes.subarray(0, 30))).toThrow('state is cut short');
  });

  it('has fds in these sections, which must go where it goes', () => {
    const named = SURVIVORS.filter(({ section }) => section.namesFds).map(({ section }) => section.name);
    const files = [
      'ram',
      'disks',
      'netdevs',
      'listeners',
      'fsdevs',
      'rrfile',
      'vfio',
      'routes',
      'semihosting',
      'shares',
      'streams',
      'monitor',
    ];
    expect(named).toEqual(['vm', 'update', ...files]);
  });

  it('names a section that is missing, unknown or of another version', () => {
    const all = decodeState(frozen).sections;
    const without = new Map([...all].filter(([name]) => name !== 'clint'));
    expect(() => decodeAll({ completeNs: 0, sections: without })).toThrow('section clint: missing');
    const more = new Map([...all, ['gpio', { version: 1 }]]);
    expect(() => decodeAll({ completeNs: 0, sections: more })).toThrow('section gpio: this build does not know it');
    const other = new Map([...all, ['plic', { version: 1 }]]);
    expect(() => decodeAll({ completeNs: 0, sections: other })).toThrow(
      'section plic: the machine of section vm has none',
    );
    const newer = new Map([...all, ['uart', { version: 2 }]]);
    expect(() => decodeAll({ completeNs: 0, sections: newer })).toThrow('section uart: version 2, this build knows 1');
  });
});

/**
 * Written by livevmm 0.1.0 while it ran guest/programs/demo.elf with an edu and a capture device.
 * Never to be regenerated.
 */
const frozen = readFileSync(new URL('./frozen-0.1.0.state', import.meta.url));

describe('the frozen state of 0.1.0', () => {
  it('can be loaded by this build, section by section', () => {
    const sections = Object.fromEntries(
      decodeAll(decodeState(frozen)).map(({ survivor, state }) => [survivor.section.name, state]),
    );
    expect(sections.vm).toMatchObject({ generation: 0, entry: 0x8000_0000, paused: false });
    expect(sections.ram).toMatchObject({ size: 64 * 2 ** 20 });
    expect(sections.pci).toMatchObject({
      functions: [
        { bdf: '0000:00:02.0', armed: true },
        { bdf: '0000:00:03.0', armed: true },
      ],
    });
    const ranges = [{ iova: 0x8000_0000, offset: 0, size: 64 * 2 ** 20 }];
    expect(sections.vfio).toMatchObject({ container: { ranges } });
    expect(sections.monitor).toMatchObject({ connections: [{ negotiated: true }] });
    expect(sections.update).toMatchObject({
      version: 2,
      takeback: null,
      migration: null,
      fds: { 'monitor socket': expect.any(Number) },
    });
  });

  it('has the form that the list of releases says, and comes out again when it is written so', () => {
    const before = decodeState(frozen).sections;
    const versions = [...before].map(([name, { version }]) => [name, version]);
    expect(Object.fromEntries(versions)).toEqual(RELEASES['0.1.0']);
    const form = formOf('0.1.0');
    for (const { survivor, state } of decodeAll(decodeState(frozen))) {
      const { section } = survivor;
      expect(section.encode(state, versionIn(form, section)), section.name).toEqual(before.get(section.name));
    }
  });

  it.each(Object.keys(RELEASES))('each section of this build can be written in the form of %s', (release) => {
    const form = formOf(release);
    for (const { section } of SURVIVORS) expect(section.writes(versionIn(form, section)), section.name).toBe(true);
  });

  it.each([
    ['hart', { x: [1n] }, 'section hart: hart.x: 1 values, not 31'],
    ['vm', { paused: 1 }, 'section vm: vm.paused: no boolean'],
    ['vm', { options: { kernel: 'a', devices: [] } }, 'section vm: vm.options: memory is missing'],
    ['clint', { mtime: 'now' }, 'section clint: clint.mtime: no bigint'],
    ['uart', { unsent: [1] }, 'section uart: uart.unsent: no bytes'],
    ['pci', { functions: [{}] }, 'section pci: pci.functions[0]: version is missing'],
    ['ram', { huge: true }, 'section ram: ram: huge is not known'],
  ])('is not believed where section %s has %o', (name, change, error) => {
    const { completeNs, sections } = decodeState(frozen);
    const body = { ...sections.get(name)!, ...change };
    expect(() => decodeAll({ completeNs, sections: new Map([...sections, [name, body]]) })).toThrow(error);
  });
});
