/** Our firmware, as S mode sees it (guest/firmware; SBI 2.0). */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { parseElf } from '../../../guest/elf.ts';
import { APLIC, UART_IRQ } from '../../../vmm/machine/shared/memory-map.ts';
import type { Aia } from '../../../vmm/machine/shared/wired-devices.ts';
import { BareMachine } from '../../vmm/machine/bare-machine.ts';
import { encode, loadImmediate } from '../riscv/encode.ts';

const FOLDER = join(import.meta.dirname, '../../../guest/firmware');
const ELF = readFileSync(join(FOLDER, 'sbi.elf'));
const RAM_BYTES = 8 << 20;
const PAYLOAD = 0x20_0000;
const RESULTS = 0x30_0000;
const TEXT = 0x40_0000;
const MOST_INSTRUCTIONS = 1_000_000;

const [A0, A6, A7, RESULT] = [10, 16, 17, 8];
const BASE = 0x10;
const TIME = 0x5449_4d45;
const IPI = 0x73_5049;
const RFENCE = 0x5246_4e43;
const HSM = 0x48_534d;
const SRST = 0x5352_5354;
const DBCN = 0x4442_434e;
const PMU = 0x50_4d55;

const NOT_SUPPORTED = -2n;
const INVALID_PARAM = -3n;
const INVALID_ADDRESS = -5n;
const ALREADY_AVAILABLE = -6n;

/** A call whose a0 and a1 go to the next place of RESULTS. Arguments are small, or in RAM. */
const call = (extension: number, fid: number, ...args: readonly number[]): number[] => [
  ...args.flatMap((arg, i) => argument(A0 + i, arg)),
  ...loadImmediate(A6, fid),
  ...loadImmediate(A7, extension),
  encode('ecall'),
  encode('sd', { rs1: RESULT, rs2: A0, imm: 0 }),
  encode('sd', { rs1: RESULT, rs2: A0 + 1, imm: 8 }),
  encode('addi', { rd: RESULT, rs1: RESULT, imm: 16 }),
];

/** Addresses of RAM have bit 31, which `lui` would extend. */
const argument = (rd: number, value: number): readonly number[] =>
  value < 2 ** 31
    ? loadImmediate(rd, value)
    : [
        ...loadImmediate(rd, value | 0),
        encode('slli', { rd, rs1: rd, imm: 32 }),
        encode('srli', { rd, rs1: rd, imm: 32 }),
      ];

/** The results, after the program has powered the machine off. */
function run(
  program: readonly number[],
  { aia = 'none', harts = 1, prepare }: { aia?: Aia; harts?: number; prepare?: (bare: BareMachine) => void } = {},
) {
  const image = { ...parseElf(ELF), next: 0x8000_0000 + PAYLOAD, tree: { ramSize: RAM_BYTES, harts } };
  const bare = new BareMachine({ ramBytes: RAM_BYTES, aia, aplic: aia !== 'none', harts, image });
  const begin = encode('auipc', { rd: RESULT, imm: (RESULTS - PAYLOAD) >> 12 });
  new Int32Array(bare.ram, PAYLOAD).set([begin, ...program, ...call(SRST, 0, 0, 0)]);
  prepare?.(bare);
  const end = bare.run(MOST_INSTRUCTIONS);
  const words = new BigInt64Array(bare.ram, RESULTS, 64);
  const result = (i: number): readonly [bigint, bigint] => [words[2 * i]!, words[2 * i + 1]!];
  return { bare, end, result, words };
}

/** What built the committed ELF. */
const version = spawnSync('riscv64-unknown-elf-gcc', ['-dumpfullversion'], { encoding: 'utf8' }).stdout?.trim();

describe('the firmware', () => {
  it.runIf(version === '12.2.0')('is what gcc 12.2.0 makes of its sources, byte for byte', () => {
    const out = mkdtempSync(join(tmpdir(), 'livevmm-firmware-'));
    try {
      execFileSync('make', ['-s', `OUT=${out}`], { cwd: FOLDER });
      expect(readFileSync(join(out, 'sbi.elf')).equals(ELF)).toBe(true);
    } finally {
      rmSync(out, { recursive: true });
    }
  });

  it('says its version, and which extensions it has', () => {
    const { end, result } = run([
      ...call(BASE, 0),
      ...call(BASE, 3, TIME),
      ...call(BASE, 3, PMU),
      ...call(BASE, 3, 0x1234),
      ...call(0x1234, 0),
      ...call(BASE, 99),
    ]);
    expect(end).toBe('poweroff');
    expect([0, 1, 2, 3].map((i) => result(i)[1])).toEqual([0x200_0000n, 1n, 1n, 0n]);
    expect([result(4)[0], result(5)[0]]).toEqual([NOT_SUPPORTED, NOT_SUPPORTED]);
  });

  it('prints what lies in memory of S mode, and refuses its own', () => {
    const { bare, result } = run(
      [...call(DBCN, 0, 6, 0x8000_0000 + TEXT, 0), ...call(DBCN, 0, 4, 0x8000_0000, 0), ...call(DBCN, 2, 0x21)],
      {
        prepare: ({ ram }) => new Uint8Array(ram, TEXT).set(Buffer.from('hello\n')),
      },
    );
    expect(bare.printed).toBe('hello\n!');
    expect([result(0), result(1)[0], result(2)[0]]).toEqual([[0n, 6n], INVALID_PARAM, 0n]);
  });

  it('reads what was typed, as much as there is', () => {
    const { bare, result } = run(call(DBCN, 1, 8, 0x8000_0000 + TEXT, 0), {
      prepare: ({ input }) => input.push(Buffer.from('abc')),
    });
    expect(result(0)).toEqual([0n, 3n]);
    expect(Buffer.from(new Uint8Array(bare.ram, TEXT, 3).slice()).toString()).toBe('abc');
  });

  it('does not let S mode touch its memory', () => {
    const { end, bare } = run([
      ...argument(A0, 0x8000_0000),
      encode('auipc', { rd: A6, imm: 0 }),
      encode('addi', { rd: A6, rs1: A6, imm: 16 }),
      encode('csrrw', { rs1: A6, csr: 0x105 }), // stvec: after the load
      encode('ld', { rd: A0 + 1, rs1: A0 }),
      encode('csrrs', { rd: A0 + 1, csr: 0x142 }), // scause
      encode('sd', { rs1: RESULT, rs2: A0 + 1 }),
    ]);
    expect([end, new BigInt64Array(bare.ram, RESULTS, 1)[0]]).toEqual(['poweroff', 5n]); // load access fault
  });

  it('sets the timer of Sstc', () => {
    const { bare } = run(call(TIME, 0, 0x1234_5678));
    expect(bare.machine.save().harts[0]!.hart.privileged?.stimecmp).toBe(0x1234_5678n);
  });

  it('makes the software interrupt of S mode pending', () => {
    const { bare, result } = run([
      ...call(IPI, 0, 1, 0),
      ...call(IPI, 0, 2, 0),
      ...call(RFENCE, 1, 1, 0, 0, 0),
      ...call(RFENCE, 3, 1, 0, 0, 0),
    ]);
    expect([result(0)[0], result(1)[0], result(2)[0], result(3)[0]]).toEqual([0n, INVALID_PARAM, 0n, NOT_SUPPORTED]);
    expect((bare.machine.save().harts[0]!.hart.privileged?.pending ?? 0) & 2).toBe(2);
  });

  it('knows the counters cycle and instret', () => {
    const { result } = run([
      ...call(PMU, 0),
      ...call(PMU, 1, 0),
      ...call(PMU, 1, 1),
      ...call(PMU, 2, 0, 7, 0, 2),
      ...call(PMU, 2, 0, 1, 0, 2),
    ]);
    expect([result(0), result(1)]).toEqual([
      [0n, 3n],
      [0n, (63n << 12n) | 0xc00n],
    ]);
    expect([result(2)[0], result(3), result(4)[0]]).toEqual([INVALID_PARAM, [0n, 2n], NOT_SUPPORTED]);
  });

  it('gives S mode the sources of an APLIC, and their messages', () => {
    const [siselect, sireg, stopei] = [0x150, 0x151, 0x15c];
    const [root, child] = [APLIC.machine.base, APLIC.supervisor.base];
    const write = (csr: number, value: number) => [...loadImmediate(A0, value), encode('csrrw', { rs1: A0, csr })];
    const store = (at: number, value: number) => [
      ...loadImmediate(A6, at),
      ...loadImmediate(A0, value),
      encode('sw', { rs1: A6, rs2: A0 }),
    ];
    const { words } = run(
      [
        ...[write(siselect, 0x70), write(sireg, 1), write(siselect, 0xc0), write(sireg, -1)].flat(),
        ...store(child + 4 * UART_IRQ, 4), // sourcecfg: an edge
        ...store(child + 0x3000 + 4 * UART_IRQ, 7), // target: hart 0
        ...store(child + 0x1edc, UART_IRQ), // setienum
        ...store(child, 0x100), // domaincfg
        ...store(child + 0x1cdc, UART_IRQ), // setipnum
        encode('csrrw', { rd: A0, csr: stopei }),
        encode('sd', { rs1: RESULT, rs2: A0 }),
        ...loadImmediate(A6, root + 4 * UART_IRQ),
        encode('lw', { rd: A0, rs1: A6 }),
        encode('sd', { rs1: RESULT, rs2: A0, imm: 8 }),
        encode('addi', { rd: RESULT, rs1: RESULT, imm: 16 }),
      ],
      { aia: 'aplic-imsic' },
    );
    expect([words[0], words[1]]).toEqual([(7n << 16n) | 7n, 0x400n]);
  });

  it('resets the machine, and ends it with a failure', () => {
    expect(run(call(SRST, 0, 1, 0)).end).toBe('reset');
    const { result } = run(call(SRST, 0, 3, 0));
    expect(result(0)[0]).toBe(INVALID_PARAM);
  });
});

describe('the firmware with two harts', () => {
  /** Until the second hart has come, too. */
  const delay = Array.from({ length: 1000 }, () => encode('addi'));
  /** The second hart stores its a1 and its id, fences the first, and stops. */
  const SECOND = 0x50_0000;
  const second = [
    encode('auipc', { rd: RESULT, imm: ((RESULTS - SECOND) >> 12) & 0xf_ffff }),
    encode('sd', { rs1: RESULT, rs2: A0 + 1, imm: 0x100 }),
    encode('sd', { rs1: RESULT, rs2: A0, imm: 0x108 }),
    ...loadImmediate(A0, 1),
    ...loadImmediate(A0 + 1, 0),
    ...loadImmediate(A6, 0),
    ...loadImmediate(A7, RFENCE),
    encode('ecall'),
    ...loadImmediate(A6, 1),
    ...loadImmediate(A7, HSM),
    encode('ecall'),
  ];
  const started = (): ReturnType<typeof run> =>
    run(
      [
        ...delay,
        ...call(HSM, 2, 1),
        ...call(HSM, 0, 1, 0x8000_0000 + SECOND, 77),
        ...call(HSM, 0, 0, 0x8000_0000 + SECOND, 0),
        ...call(HSM, 2, 5),
        ...delay,
        ...call(HSM, 2, 1),
      ],
      { harts: 2, prepare: ({ ram }) => new Int32Array(ram, SECOND).set(second) },
    );

  it('starts the second one where it is told, and that one stops itself', () => {
    const { end, result, words } = started();
    expect(end).toBe('poweroff');
    expect(result(0)).toEqual([0n, 1n]); // STOPPED
    expect(result(1)[0]).toBe(0n);
    expect(result(2)[0]).toBe(ALREADY_AVAILABLE);
    expect([result(3)[0], result(4)]).toEqual([INVALID_PARAM, [0n, 1n]]);
    expect([words[32], words[33]]).toEqual([77n, 1n]);
  });

  it('refuses to start a hart in its own memory', () => {
    const { result } = run([...delay, ...call(HSM, 0, 1, 0x8000_0000, 0)], { harts: 2 });
    expect(result(0)[0]).toBe(INVALID_ADDRESS);
  });
});
