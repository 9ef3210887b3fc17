import { afterEach, describe, expect, it } from 'vitest';

import { IOMMU_READ, IOMMU_WRITE } from '../../../../iommu/kernel/driver/domain.ts';
import { dup } from '../../../../platform/libc/fd.ts';
import { FakeMachine, type MachineOptions } from '../../../fakes/fake-machine.ts';

const DID = 0x10;
const PFN_SIZE = 4096;

let machine: FakeMachine;
afterEach(() => machine.close());

/** Bytes that a device can read and write of a page mapped with `prot`. */
function access(options: MachineOptions, prot: number): { readonly read: number; readonly written: number } {
  machine = new FakeMachine(options);
  const object = machine.object(PFN_SIZE);
  const pfn = machine.board.attachObject(dup(object.fd), PFN_SIZE, { ino: object.ino });
  const domain = machine.driver.allocDomain();
  machine.driver.attach(DID, domain);
  domain.map(0, pfn, 1, prot);
  const port = machine.port(DID);
  const read = port.read(0, 0, new Uint8Array(8));
  const written = port.write(0, 0, new Uint8Array(8));
  port.idle();
  return { read, written };
}

describe('a WRITE-only mapping (IOM-3)', () => {
  it('can be read by the device, as with VT-d of 6.1 and 6.12', () => {
    const options = { unit: { writeOnlyLeaves: true }, driver: { writeOnlyIsReadable: true } };
    expect(access(options, IOMMU_WRITE)).toEqual({ read: 8, written: 8 });
  });

  it('cannot in 7.2', () => {
    const options = { unit: { writeOnlyLeaves: true }, driver: { writeOnlyIsReadable: false } };
    expect(access(options, IOMMU_WRITE)).toEqual({ read: 0, written: 8 });
  });

  it('can on a unit that has no leaves for it', () => {
    expect(access({ driver: { writeOnlyIsReadable: false } }, IOMMU_WRITE)).toEqual({ read: 8, written: 8 });
  });

  it('says nothing about READ-only and READ|WRITE', () => {
    const options = { unit: { writeOnlyLeaves: true }, driver: { writeOnlyIsReadable: false } };
    expect(access(options, IOMMU_READ)).toEqual({ read: 8, written: 0 });
    machine.close();
    expect(access(options, IOMMU_READ | IOMMU_WRITE)).toEqual({ read: 8, written: 8 });
  });
});
