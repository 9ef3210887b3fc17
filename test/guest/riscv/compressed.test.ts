import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { expand, ILLEGAL } from '../../../guest/riscv/compressed.ts';
import { listing } from './fixture.ts';

const parcelOf = (text: string) => new DataView(listing(text).buffer).getUint16(0, true);
const wordOf = (text: string) => new DataView(listing(text).buffer).getInt32(0, true);

/**
 * SHA-256 of the expansions of all 65536 parcels as little-endian words, ffffffff where there is
 * none. Recorded from binutils 2.40: every parcel disassembled (objdump -M no-aliases), written as
 * the 32-bit instruction that unpriv-isa §27 names, and assembled without C. One parcel differs:
 * 6101, c.addi16sp sp, 0, which objdump accepts and §27.5.1 reserves.
 */
const RECORDED = '35bf392938fa7e6c4a9c5d2e20f671ae6f468c9e90b2ab7b482a55a7f123ed42';

describe('expand', () => {
  it('agrees with binutils on every 16-bit instruction', () => {
    const table = Int32Array.from({ length: 0x1_0000 }, (_, c) => ((c & 3) === 3 ? ILLEGAL : expand(c)));
    expect(createHash('sha256').update(new Uint8Array(table.buffer)).digest('hex')).toBe(RECORDED);
  });

  it.each([
    ['1fe8  c.addi4spn a0, sp, 1020', '3fc10513  addi a0, sp, 1020'],
    ['5de8  c.lw a0, 124(a1)', '07c5a503  lw a0, 124(a1)'],
    ['7de8  c.ld a0, 248(a1)', '0f85b503  ld a0, 248(a1)'],
    ['c0a8  c.sw a0, 64(s1)', '04a4a023  sw a0, 64(s1)'],
    ['e07c  c.sd a5, 192(s0)', '0cf43023  sd a5, 192(s0)'],
    ['0001  c.nop', '00000013  addi zero, zero, 0'],
    ['1f81  c.addi t6, -32', 'fe0f8f93  addi t6, t6, -32'],
    ['20fd  c.addiw ra, 31', '01f0809b  addiw ra, ra, 31'],
    ['557d  c.li a0, -1', 'fff00513  addi a0, zero, -1'],
    ['7101  c.addi16sp sp, -512', 'e0010113  addi sp, sp, -512'],
    ['7781  c.lui a5, 0xfffe0', 'fffe07b7  lui a5, 0xfffe0'],
    ['917d  c.srli a0, 63', '03f55513  srli a0, a0, 63'],
    ['9501  c.srai a0, 32', '42055513  srai a0, a0, 32'],
    ['9901  c.andi a0, -32', 'fe057513  andi a0, a0, -32'],
    ['8d0d  c.sub a0, a1', '40b50533  sub a0, a0, a1'],
    ['8d2d  c.xor a0, a1', '00b54533  xor a0, a0, a1'],
    ['8d4d  c.or a0, a1', '00b56533  or a0, a0, a1'],
    ['8d6d  c.and a0, a1', '00b57533  and a0, a0, a1'],
    ['9d0d  c.subw a0, a1', '40b5053b  subw a0, a0, a1'],
    ['9d2d  c.addw a0, a1', '00b5053b  addw a0, a0, a1'],
    ['b001  c.j .-2048', '801ff06f  jal zero, .-2048'],
    ['cd7d  c.beqz a0, .+254', '0e050f63  beq a0, zero, .+254'],
    ['f081  c.bnez s1, .-256', 'f00490e3  bne s1, zero, .-256'],
    ['1502  c.slli a0, 32', '02051513  slli a0, a0, 32'],
    ['52fe  c.lwsp t0, 252(sp)', '0fc12283  lw t0, 252(sp)'],
    ['72fe  c.ldsp t0, 504(sp)', '1f813283  ld t0, 504(sp)'],
    ['df96  c.swsp t0, 252(sp)', '0e512e23  sw t0, 252(sp)'],
    ['ff96  c.sdsp t0, 504(sp)', '1e513c23  sd t0, 504(sp)'],
    ['8082  c.jr ra', '00008067  jalr zero, 0(ra)'],
    ['9282  c.jalr t0', '000280e7  jalr ra, 0(t0)'],
    ['857e  c.mv a0, t6', '01f00533  add a0, zero, t6'],
    ['957e  c.add a0, t6', '01f50533  add a0, a0, t6'],
    ['9002  c.ebreak', '00100073  ebreak'],
    ['3de8  c.fld fa0, 248(a1)', '0f85b507  fld fa0, 248(a1)'],
    ['a07c  c.fsd fa5, 192(s0)', '0cf43027  fsd fa5, 192(s0)'],
    ['32fe  c.fldsp ft5, 504(sp)', '1f813287  fld ft5, 504(sp)'],
    ['bf96  c.fsdsp ft5, 504(sp)', '1e513c27  fsd ft5, 504(sp)'],
  ])('%s is %s', (compressed, full) => {
    expect(expand(parcelOf(compressed)) >>> 0).toBe(wordOf(full) >>> 0);
  });

  it.each([
    ['all zeros', 0x0000],
    ['c.addi4spn with immediate 0', 0x0004],
    ['c.addiw with rd = 0', 0x2001],
    ['c.lui with immediate 0', 0x6081],
    ['c.addi16sp with immediate 0', 0x6101],
    ['c.lwsp with rd = 0', 0x4002],
    ['c.ldsp with rd = 0', 0x6002],
    ['c.jr with rs1 = 0', 0x8002],
    ['the reserved row of quadrant 0', 0x8000],
    ['the reserved CA encodings', 0x9c41],
  ])('has nothing for %s', (_, parcel) => {
    expect(expand(parcel)).toBe(ILLEGAL);
  });
});
