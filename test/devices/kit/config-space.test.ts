import { describe, expect, it } from 'vitest';

import { ConfigSpace, type Identity } from '../../../devices/kit/config-space.ts';
import { MsiCapability } from '../../../devices/kit/msi.ts';

const IDENTITY: Identity = {
  vendor: 0x1234,
  device: 0xabcd,
  classCode: 0x048001,
  revision: 7,
  subsystemVendor: 0x1111,
  subsystem: 0x2222,
  interruptPin: 1,
};
const ONES = 0xffffffff;
const MEMORY = { space: 'memory', width: 32, prefetchable: false } as const;

describe('type 0 header (PCI 3.0 §6.1)', () => {
  it('shows identity, class, subsystem and pin where software looks for them', () => {
    const config = new ConfigSpace(IDENTITY, []);

    expect(config.read(0x00, 4).lo).toBe(0xabcd1234);
    expect(config.read(0x08, 4).lo).toBe(0x04800107);
    expect(config.read(0x0c, 4).lo).toBe(0);
    expect(config.read(0x2c, 4).lo).toBe(0x22221111);
    expect(config.read(0x3c, 4).lo).toBe(0x0100);
  });

  it('keeps read-only bytes and takes those bits of COMMAND that exist', () => {
    const config = new ConfigSpace(IDENTITY, []);

    config.write(0x00, 4, 0);
    config.write(0x04, 2, 0xffff);

    expect(config.read(0x00, 4).lo).toBe(0xabcd1234);
    expect(config.read(0x04, 2).lo).toBe(0x0507);
  });

  it('reads ones and drops writes for accesses that are no configuration accesses', () => {
    const config = new ConfigSpace(IDENTITY, []);

    config.write(0x03, 2, 0x0f0f);
    config.write(0x04, 8, 0x0f0f);

    expect(config.read(0x02, 4).lo).toBe(ONES);
    expect(config.read(0x100, 4).lo).toBe(ONES);
    expect(config.read(0x04, 2).lo).toBe(0);
  });
});

describe('BAR sizing (PCI 3.0 §6.2.5.1)', () => {
  it('a 32-bit BAR answers all ones with its size mask and type bits', () => {
    const config = new ConfigSpace(IDENTITY, [{ ...MEMORY, index: 0, size: 1 << 20 }]);

    config.write(0x10, 4, ONES);

    expect(config.read(0x10, 4).lo).toBe(0xfff00000);
  });

  it('a 64-bit prefetchable BAR takes two registers', () => {
    const config = new ConfigSpace(IDENTITY, [{ ...MEMORY, index: 2, size: 2 ** 33, width: 64, prefetchable: true }]);

    config.write(0x18, 4, ONES);
    config.write(0x1c, 4, ONES);

    expect(config.read(0x18, 4).lo).toBe(0x0000000c);
    expect(config.read(0x1c, 4).lo).toBe(0xfffffffe);
  });

  it('an I/O BAR has bit 0 set and its size mask in all upper bits', () => {
    const config = new ConfigSpace(IDENTITY, [{ ...MEMORY, index: 1, space: 'io', size: 256 }]);

    config.write(0x14, 4, ONES);

    expect(config.read(0x14, 4).lo).toBe(0xffffff01);
  });

  it('a BAR that does not exist stays 0', () => {
    const config = new ConfigSpace(IDENTITY, [{ ...MEMORY, index: 0, size: 4096 }]);

    config.write(0x14, 4, ONES);

    expect(config.read(0x14, 4).lo).toBe(0);
  });
});

describe('capability chain (docs/machine.md, "Configuration space")', () => {
  it('MSI is 64-bit with one vector; only enable, address and data are writable', () => {
    const config = new ConfigSpace(IDENTITY, []);
    const msi = new MsiCapability(config);
    const before = config.read(0x40, 4).lo;

    for (const offset of [0x40, 0x44, 0x48, 0x4c]) config.write(offset, 4, ONES);

    expect(before).toBe(0x00800005);
    expect(config.read(0x34, 1).lo).toBe(0x40);
    expect(config.read(0x06, 2).lo).toBe(0x0010);
    expect(config.read(0x40, 4).lo).toBe(0x00810005);
    expect(config.read(0x44, 4).lo).toBe(0xfffffffc);
    expect(config.read(0x4c, 2).lo).toBe(0xffff);
    expect(msi.message()).toEqual({
      vpn: 2 ** 52 - 1,
      offset: 0xffc,
      data: 0xffff,
    });
  });

  it('bytes behind the header that are no capability are scratch memory (vectors: edu-config)', () => {
    const config = new ConfigSpace(IDENTITY, []);
    new MsiCapability(config);

    config.write(0x4e, 2, 0x1234);
    config.write(0xfc, 4, 0x89abcdef);

    expect(config.read(0x4c, 4).lo).toBe(0x12340000);
    expect(config.read(0xfc, 4).lo).toBe(0x89abcdef);
  });

  it('a second capability is linked behind the first', () => {
    const config = new ConfigSpace(IDENTITY, []);
    new MsiCapability(config);

    const at = config.addCapability(0x11, 12);

    expect(at).toBe(0x50);
    expect(config.read(0x41, 1).lo).toBe(0x50);
    expect(config.read(0x50, 2).lo).toBe(0x0011);
  });
});
