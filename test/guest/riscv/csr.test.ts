import { describe, expect, it } from 'vitest';

import type { InterruptFile } from '../../../guest/riscv/environment.ts';
import { createHart, execute } from './fixture.ts';

const ILLEGAL = 2n;

describe('Zicsr (unpriv-isa §7.1), on mscratch = 0b1100 with a1 = 0b1010', () => {
  it.each([
    ['34059573  csrrw a0, mscratch, a1', 0b1010n],
    ['3405a573  csrrs a0, mscratch, a1', 0b1110n],
    ['3405b573  csrrc a0, mscratch, a1', 0b0100n],
    ['340fd573  csrrwi a0, mscratch, 31', 31n],
    ['3401e573  csrrsi a0, mscratch, 3', 0b1111n],
    ['34027573  csrrci a0, mscratch, 4', 0b1000n],
    ['34002573  csrrs a0, mscratch, zero', 0b1100n],
    ['34001573  csrrw a0, mscratch, zero', 0n],
  ])('%s gives the old value and leaves %d', (instruction, after) => {
    const fixture = createHart({ program: instruction, registers: { a1: 0b1010n } });
    fixture.hart.restore({ ...fixture.hart.save(), mscratch: 0b1100n });
    fixture.step();
    expect(fixture.get('a0')).toBe(0b1100n);
    expect(fixture.hart.save().mscratch).toBe(after);
  });

  it('exchanges a register with itself', () => {
    const { get, hart } = execute('340595f3  csrrw a1, mscratch, a1', { a1: 7n });
    expect([get('a1'), hart.save().mscratch]).toEqual([0n, 7n]);
  });
});

describe('machine CSRs after reset (priv-isa §3.1)', () => {
  it.each([
    ['f1102573  csrr a0, mvendorid', 0n],
    ['f1202573  csrr a0, marchid', 0n],
    ['f1302573  csrr a0, mimpid', 0n],
    ['f1402573  csrr a0, mhartid', 0n],
    ['f1502573  csrr a0, 0xf15', 0n],
    ['30002573  csrr a0, mstatus', 0xa_0000_1800n],
    ['30102573  csrr a0, misa', 0x8000_0000_0014_112fn],
    ['30402573  csrr a0, mie', 0n],
    ['34402573  csrr a0, mip', 0n],
    ['30502573  csrr a0, mtvec', 0n],
    ['30602573  csrr a0, mcounteren', 0n],
    ['32002573  csrr a0, mcountinhibit', 0n],
    ['3a002573  csrr a0, pmpcfg0', 0n],
    ['3ae02573  csrr a0, pmpcfg14', 0n],
    ['3ef02573  csrr a0, pmpaddr63', 0n],
    ['b0302573  csrr a0, mhpmcounter3', 0n],
    ['33f02573  csrr a0, mhpmevent31', 0n],
  ])('%s reads %i', (instruction, value) => {
    const { get, hart } = execute(instruction, { a0: 1n });
    expect(hart.save().mcause).toBe(0n);
    expect(get('a0')).toBe(value);
  });
});

describe('what software can write (WARL)', () => {
  it.each([
    [
      'mstatus: what there is, with SD as FS is Dirty',
      '30059073  csrw mstatus, a1',
      '30002573  csrr a0, mstatus',
      0x8000_000a_007e_79aan,
    ],
    ['misa: nothing', '30159073  csrw misa, a1', '30102573  csrr a0, misa', 0x8000_0000_0014_112fn],
    ['mie: six interrupts', '30459073  csrw mie, a1', '30402573  csrr a0, mie', 0xaaan],
    ['mip: those of S mode', '34459073  csrw mip, a1', '34402573  csrr a0, mip', 0x222n],
    ['mtvec: no reserved mode', '30559073  csrw mtvec, a1', '30502573  csrr a0, mtvec', 0n],
    ['mscratch: all', '34059073  csrw mscratch, a1', '34002573  csrr a0, mscratch', 2n ** 64n - 1n],
    ['mepc: all but bit 0', '34159073  csrw mepc, a1', '34102573  csrr a0, mepc', 2n ** 64n - 2n],
    ['mcause: all', '34259073  csrw mcause, a1', '34202573  csrr a0, mcause', 2n ** 64n - 1n],
    ['mtval: all', '34359073  csrw mtval, a1', '34302573  csrr a0, mtval', 2n ** 64n - 1n],
    ['mcounteren: CY, TM, IR', '30659073  csrw mcounteren, a1', '30602573  csrr a0, mcounteren', 7n],
    [
      'pmpcfg0: A, L and permissions',
      '3a059073  csrw pmpcfg0, a1',
      '3a002573  csrr a0, pmpcfg0',
      0x9f9f_9f9f_9f9f_9f9fn,
    ],
    ['pmpcfg4: no such entries', '3a459073  csrw pmpcfg4, a1', '3a402573  csrr a0, pmpcfg4', 0n],
    [
      'pmpaddr0: bits 53:10 while Off',
      '3b059073  csrw pmpaddr0, a1',
      '3b002573  csrr a0, pmpaddr0',
      0x3f_ffff_ffff_fc00n,
    ],
    ['pmpaddr16: no such entry', '3c059073  csrw pmpaddr16, a1', '3c002573  csrr a0, pmpaddr16', 0n],
    ['medeleg: all but an ecall of M mode', '30259073  csrw medeleg, a1', '30202573  csrr a0, medeleg', 0xb3ffn],
    ['mideleg: those of S mode', '30359073  csrw mideleg, a1', '30302573  csrr a0, mideleg', 0x222n],
    ['menvcfg: FIOM, ADUE, STCE', '30a59073  csrw menvcfg, a1', '30a02573  csrr a0, menvcfg', 0xa000_0000_0000_0001n],
    ['satp: no unknown mode', '18059073  csrw satp, a1', '18002573  csrr a0, satp', 0n],
    [
      'sstatus: its part of mstatus',
      '10059073  csrw sstatus, a1',
      '10002573  csrr a0, sstatus',
      0x8000_0002_000c_6122n,
    ],
    ['stvec: no reserved mode', '10559073  csrw stvec, a1', '10502573  csrr a0, stvec', 0n],
    ['sepc: all but bit 0', '14159073  csrw sepc, a1', '14102573  csrr a0, sepc', 2n ** 64n - 2n],
    ['scounteren: CY, TM, IR', '10659073  csrw scounteren, a1', '10602573  csrr a0, scounteren', 7n],
    ['mcountinhibit: nothing', '32059073  csrw mcountinhibit, a1', '32002573  csrr a0, mcountinhibit', 0n],
  ])('%s', (_, write, read, expected) => {
    const { get, hart } = createHart({ program: `${write}\n${read}`, registers: { a1: -1n } });
    hart.run(2);
    expect(get('a0')).toBe(expected);
  });

  it.each([
    ['direct', 0x8000_0100n, 0x8000_0100n],
    ['vectored', 0x8000_0101n, 0x8000_0101n],
    ['a base where no instruction can be', 2n ** 52n, 0n],
  ])('mtvec: %s', (_, value, expected) => {
    const { hart } = execute('30559073  csrw mtvec, a1', { a1: value });
    expect(hart.save().mtvec).toBe(expected);
  });
});

describe('CSRs that do not exist are illegal instructions (priv-isa §2.1)', () => {
  it.each([
    '3a102573  csrr a0, pmpcfg1',
    'c0302573  csrr a0, hpmcounter3',
    '60002573  csrr a0, hstatus',
    '20002573  csrr a0, 0x200',
    '7a002573  csrr a0, tselect',
    '00302573  csrr a0, fcsr',
    '7c002573  csrr a0, 0x7c0',
    'f1451073  csrw mhartid, a0',
    'c0151073  csrw time, a0',
    'c000e573  csrrsi a0, cycle, 1',
    '35002573  csrr a0, 0x350',
    '35102573  csrr a0, 0x351',
    '35c02573  csrr a0, 0x35c',
    '35c01073  csrw 0x35c, zero',
    'fb002573  csrr a0, 0xfb0',
    '15c02573  csrr a0, 0x15c',
    '15c01073  csrw 0x15c, zero',
  ])('%s', (instruction) => {
    const { get, hart, ram } = execute(instruction, { a0: 9n });
    expect([hart.save().mcause, hart.save().mtval]).toEqual([ILLEGAL, BigInt(ram.getUint32(0, true))]);
    expect(get('a0')).toBe(9n);
  });
});

describe('counters (priv-isa §3.1.10, unpriv-isa §8)', () => {
  it('counts every instruction in mcycle and the retired ones in minstret', () => {
    const { get, hart } = createHart({
      program: `
        30559073  csrw mtvec, a1
        00000073  ecall
        00000013  nop
        b0002673  csrr a2, mcycle
        b02026f3  csrr a3, minstret
      `,
      registers: { a1: 0x8000_0008n },
    });
    hart.run(5);
    expect([get('a2'), get('a3')]).toEqual([3n, 3n]);
  });

  it.each([
    ['b0059073  csrw mcycle, a1', 'c0002573  rdcycle a0'],
    ['b0259073  csrw minstret, a1', 'c0202573  rdinstret a0'],
  ])('%s is what the next instruction reads', (write, read) => {
    const { get, hart } = createHart({ program: `0001  c.nop\n${write}\n${read}`, registers: { a1: 2n ** 64n - 5n } });
    hart.run(3);
    expect(get('a0')).toBe(2n ** 64n - 5n);
  });

  it('reads mtime in time', () => {
    const { get } = execute('c0102573  rdtime a0', {}, { time: () => 123_456_789_012n });
    expect(get('a0')).toBe(123_456_789_012n);
  });
});

describe('AIA with an interrupt file (AIA §2.1, §3.8, §3.9)', () => {
  /** A file that answers a read with its register number and knows what was done to it. */
  function recordingFile() {
    const log: string[] = [];
    const file: InterruptFile = {
      readRegister: (select) => BigInt(select),
      writeRegister: (select, value) => void log.push(`write ${select.toString(16)} = ${value}`),
      top: () => 0x0005_0005,
      claim: () => {
        log.push('claim');
        return 0x0003_0003;
      },
    };
    return { log, file };
  }

  it.each([
    ['eidelivery', 0x70n, 0x70n],
    ['eithreshold', 0x72n, 0x72n],
    ['eip0', 0x80n, 0x80n],
    ['eie62', 0xfen, 0xfen],
    ['iprio0, read-only zero', 0x30n, 0n],
  ])('reads %s through mireg', (_, select, expected) => {
    const { file } = recordingFile();
    const { get, hart } = createHart({
      program: '35059073  csrw 0x350, a1\n35102573  csrr a0, 0x351',
      registers: { a1: select, a0: 1n },
      interruptFile: file,
    });
    hart.run(2);
    expect(get('a0')).toBe(expected);
  });

  it.each([
    ['an odd eip on RV64', 0x81n],
    ['an odd eie on RV64', 0xffn],
    ['an odd iprio on RV64', 0x31n],
    ['a number that selects nothing', 0x10n],
  ])('refuses %s as illegal', (_, select) => {
    const { file } = recordingFile();
    const { hart } = createHart({
      program: '35059073  csrw 0x350, a1\n35102573  csrr a0, 0x351',
      registers: { a1: select },
      interruptFile: file,
    });
    hart.run(2);
    expect(hart.save().mcause).toBe(ILLEGAL);
  });

  it('writes the selected register, and iprio not at all', () => {
    const { file, log } = recordingFile();
    const { hart } = createHart({
      program: `
        35005073  csrwi 0x350, 0
        35059073  csrw 0x350, a1
        35161073  csrw 0x351, a2
        35069073  csrw 0x350, a3
        35161073  csrw 0x351, a2
      `,
      registers: { a1: 0xc0n, a2: -1n, a3: 0x32n },
      interruptFile: file,
    });
    hart.run(5);
    expect(log).toEqual(['write c0 = 18446744073709551615']);
    expect(hart.save().mcause).toBe(0n);
  });

  it('reads mtopei without claiming', () => {
    const { file, log } = recordingFile();
    const { get } = execute('35c02573  csrr a0, 0x35c', {}, { interruptFile: file });
    expect([get('a0'), log]).toEqual([0x0005_0005n, []]);
  });

  it('claims on a write of mtopei and returns what was claimed, not what a read before it saw', () => {
    const { file, log } = recordingFile();
    const { get } = execute('35c01573  csrrw a0, 0x35c, zero', {}, { interruptFile: file });
    expect([get('a0'), log]).toEqual([0x0003_0003n, ['claim']]);
  });

  it.each([
    ['eidelivery', 0x70n, 0x70n],
    ['eie62', 0xfen, 0xfen],
    ['iprio2, read-only zero', 0x32n, 0n],
  ])('reads %s of the S-level file through sireg', (_, select, expected) => {
    const { file } = recordingFile();
    const { get, hart } = createHart({
      program: '15059073  csrw 0x150, a1\n15102573  csrr a0, 0x151',
      registers: { a1: select, a0: 1n },
      interruptFile: recordingFile().file,
      supervisorFile: file,
    });
    hart.run(2);
    expect([get('a0'), hart.save().mcause]).toEqual([expected, 0n]);
  });

  it('keeps the files of M and S level apart', () => {
    const [machine, supervisor] = [recordingFile(), recordingFile()];
    const { get, hart } = createHart({
      program: `
        35059073  csrw 0x350, a1
        15069073  csrw 0x150, a3
        15161073  csrw 0x151, a2
        15c02573  csrr a0, 0x15c
        15c016f3  csrrw a3, 0x15c, zero
      `,
      registers: { a1: 0x80n, a2: 9n, a3: 0xc0n },
      interruptFile: machine.file,
      supervisorFile: supervisor.file,
    });
    hart.run(5);
    expect([machine.log, supervisor.log]).toEqual([[], ['write c0 = 9', 'claim']]);
    expect([get('a0'), get('a3')]).toEqual([0x0005_0005n, 0x0003_0003n]);
  });

  it('has no register of an S-level file that is not there', () => {
    const { hart } = createHart({
      program: '15059073  csrw 0x150, a1\n15102573  csrr a0, 0x151',
      registers: { a1: 0x70n },
      interruptFile: recordingFile().file,
    });
    hart.run(2);
    expect(hart.save().mcause).toBe(ILLEGAL);
  });

  it('reports the interrupt that would be taken in mtopi', () => {
    const { file } = recordingFile();
    const { get, hart, lines } = createHart({
      program: '30459073  csrw mie, a1\nfb002573  csrr a0, 0xfb0\nfb002673  csrr a2, 0xfb0',
      registers: { a1: 0x888n },
      interruptFile: file,
    });
    hart.run(2);
    lines[0] = (1 << 7) | (1 << 3);
    hart.run(1);
    expect([get('a0'), get('a2')]).toEqual([0n, 0x0003_0001n]);
  });
});
