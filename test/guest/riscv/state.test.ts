import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

import { HART_SECTION, type HartState } from '../../../guest/riscv/state.ts';
import { createHart, RAM_BASE } from './fixture.ts';

const packr = new Packr({ useRecords: false });
const throughMsgpack = (state: HartState) => packr.unpack(packr.pack(state)) as HartState;

/** xorshift64 in a0, forever. */
const PROGRAM = `
  00d51593  slli a1, a0, 13
  00b54533  xor a0, a0, a1
  00755593  srli a1, a0, 7
  00b54533  xor a0, a0, a1
  01151593  slli a1, a0, 17
  00b54533  xor a0, a0, a1
  fe9ff06f  j .-24
`;

/**
 * What version 1 wrote on the day it was made, in msgpack. Never to be changed; a later version
 * must still load it.
 */
const FROZEN_V1 =
  '3gAPp3ZlcnNpb24BonBjzoAAAQKheNwAH9OeN3m5f0p8FdM8bvNy/pT4KtPapm0sfd90P9N43ebl/SnwVNMXFWCffHRsadO1TNpY+77oftNThFQSewlkk9Pxu83L+lPgqNOP80eFeZ5cvdMuKsE++OjY0tPMYjr4eDNU59NqmbSx933Q/NMI0S5rdshNEdOnCKgk9hLJJtNFQCHedV1FO9Pjd5uX9KfBUNOBrxVRc/I9ZdMf5o8K8zy5etO+HgjEcoc1j9NcVYJ98dGxpNP6jPw3cRwtudOYxHXw8GapztM2+++qb7El49PVM2lj7vuh+NNzauMdbkYeDdMRolzW7ZCaItOv2daQbNsWN9NOEVBJ7CWSTNPsSMoDa3AOYdOKgEO86rqKdtMot712agUGi6d3YWl0aW5nw6dtc3RhdHVzzIijbWllzQiApW10dmVj0wAAAACAAAIBqm1jb3VudGVyZW4FqG1zY3JhdGNoz///////////pG1lcGPPgAAAAAAAAACmbWNhdXNlz4AAAAAAAAALpW10dmFs0wAAAAAAAAADqG1pc2VsZWN0cqZtY3ljbGXTAAABAAAAAACobWluc3RyZXTTAAAA//////s=';

const EVERYTHING: HartState = {
  version: 1,
  pc: RAM_BASE + 0x102,
  x: Array.from({ length: 31 }, (_, i) => BigInt.asIntN(64, BigInt(i + 1) * 0x9e37_79b9_7f4a_7c15n)),
  waiting: true,
  mstatus: 0x88,
  mie: 0x880,
  mtvec: 0x8000_0201n,
  mcounteren: 5,
  mscratch: 2n ** 64n - 1n,
  mepc: 2n ** 63n,
  mcause: 0x8000_0000_0000_000bn,
  mtval: 3n,
  miselect: 0x72,
  mcycle: 2n ** 40n,
  minstret: 2n ** 40n - 5n,
};

describe('hart state', () => {
  it('is the same after a restore, through msgpack', () => {
    const { hart } = createHart();
    hart.restore(throughMsgpack(EVERYTHING));
    expect(hart.save()).toEqual(EVERYTHING);
  });

  it('restores what version 1 once wrote', () => {
    const { hart } = createHart();
    hart.restore(packr.unpack(Buffer.from(FROZEN_V1, 'base64')) as HartState);
    expect(hart.save()).toEqual(EVERYTHING);
  });

  it('goes on in another hart as if nothing had happened', () => {
    const whole = createHart({ program: PROGRAM, registers: { a0: 88172645463325252n } });
    const before = createHart({ program: PROGRAM, registers: { a0: 88172645463325252n } });
    const after = createHart({ program: PROGRAM });
    whole.hart.run(5000);
    before.hart.run(1234);
    after.hart.restore(throughMsgpack(before.hart.save()));
    after.hart.run(5000 - 1234);
    expect(after.hart.save()).toEqual(whole.hart.save());
  });

  it('keeps waiting after a restore, until an enabled interrupt is pending', () => {
    const { hart, lines } = createHart();
    hart.restore(EVERYTHING);
    expect(hart.run(10)).toBe('wfi');
    lines[0] = 1 << 11;
    hart.run(0);
    expect(hart.run(1)).toBe('budget');
    expect(hart.save().waiting).toBe(false);
  });

  it.each([
    ['a version it does not know', { version: 2 }, 'section hart: version 2, this build knows 1'],
    ['a register too few', { x: EVERYTHING.x.slice(1) }, 'section hart: hart.x: 30 values, not 31'],
  ])('is not believed with %s', (_, change, error) => {
    expect(() => HART_SECTION.decode({ ...EVERYTHING, ...change })).toThrow(error);
  });
});
