/**
 * A guest that says one line, and then for ever counts, stores, speaks, runs through much code, or
 * sleeps. And how fast it is.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { QmpClient } from '../clients/qmp-client.ts';

const RAM = 0x8000_0000n;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;

/** Encodings: unpriv-isa §2. The UART is at 0x10000000, as on QEMU's virt. */
const PROGRAM = [
  0x100002b7, // lui  t0, 0x10000
  0x02100313, // li   t1, '!'
  0x00628023, // sb   t1, 0(t0)
  0x00a00313, // li   t1, '\n'
  0x00628023, // sb   t1, 0(t0)
  0x00001e17, // auipc t3, 1
];
const COUNTING = [
  0x00138393, // addi t2, t2, 1
  0xffdff06f, // j    -4
];
const STORING = [
  0x00138393, // addi t2, t2, 1
  0x007e3023, // sd   t2, 0(t3)
  0xff9ff06f, // j    -8
];

/** A line each 1000 ticks: 0.1 ms. */
const SPEAKING = [
  0xc0102373, // csrr t1, time
  0xc01023f3, // csrr t2, time
  0x406383b3, // sub  t2, t2, t1
  0x3e83b393, // sltiu t2, t2, 1000
  0xfe039ae3, // bnez t2, -12
  0x02e00313, // li   t1, '.'
  0x00628023, // sb   t1, 0(t0)
  0x00a00313, // li   t1, '\n'
  0x00628023, // sb   t1, 0(t0)
  0xfddff06f, // j    -36
];

/** One of many loops, which go round 64 times each. */
const ONE_LOOP = [
  0x04000313, // li   t1, 64
  0x00138393, // addi t2, t2, 1
  0x007e3023, // sd   t2, 0(t3)
  0x000e3e83, // ld   t4, 0(t3)
  0x007eceb3, // xor  t4, t4, t2
  0x003e9f13, // slli t5, t4, 3
  0x01de8f33, // add  t5, t4, t4
  0x41df0f33, // sub  t5, t5, t4
  0x01ef4fb3, // xor  t6, t5, t5
  0x01cf6fb3, // or   t6, t5, t3
  0x01df7fb3, // and  t6, t5, t4
  0x003fdf93, // srli t6, t6, 3
  0x01ff8fb3, // add  t6, t6, t6
  0x007fcfb3, // xor  t6, t6, t2
  0xfff30313, // addi t1, t1, -1
  0xfc0314e3, // bnez t1, -56
];
/** With no interrupt enabled. */
const SLEEPING = [
  0x10500073, // wfi
  0xffdff06f, // j    -4
];
const LOOPS = 256;
/** 16 KiB of code. */
const WIDE = [
  0x00010e17, // auipc t3, 16: behind the code
  ...Array.from({ length: LOOPS }, () => ONE_LOOP).flat(),
  0x80000eb7, // lui  t4, 0x80000: RAM
  0x020e9e93, // slli t4, t4, 32
  0x020ede93, // srli t4, t4, 32
  0x01ce8067, // jalr x0, 28(t4): the first loop
];

const WORK = { counting: COUNTING, storing: STORING, speaking: SPEAKING, sleeping: SLEEPING, wide: WIDE } as const;

/**
 * Writes its ELF into `folder`; returns the path (System V gABI 4.1, chapters 4 and 5). `storing`:
 * every third instruction stores to RAM. `wide`: 256 loops, one after the other.
 */
export function busyGuest(folder: string, does: keyof typeof WORK = 'counting'): string {
  const words = Uint32Array.from([...PROGRAM, ...WORK[does]]);
  const code = Uint8Array.from(new Uint8Array(words.buffer));
  const header = new DataView(new ArrayBuffer(EHDR_SIZE + PHDR_SIZE));
  header.setUint32(0, 0x7f454c46); // "\x7fELF"
  header.setUint32(4, 0x02010100); // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
  header.setUint16(16, 2, true); // ET_EXEC
  header.setUint16(18, 243, true); // EM_RISCV
  header.setUint32(20, 1, true);
  header.setBigUint64(24, RAM, true); // e_entry
  header.setBigUint64(32, BigInt(EHDR_SIZE), true); // e_phoff
  header.setUint16(52, EHDR_SIZE, true);
  header.setUint16(54, PHDR_SIZE, true);
  header.setUint16(56, 1, true); // e_phnum
  header.setUint32(EHDR_SIZE, 1, true); // PT_LOAD
  header.setUint32(EHDR_SIZE + 4, 7, true); // PF_R | PF_W | PF_X
  header.setBigUint64(EHDR_SIZE + 8, BigInt(EHDR_SIZE + PHDR_SIZE), true); // p_offset
  for (const at of [16, 24]) header.setBigUint64(EHDR_SIZE + at, RAM, true); // p_vaddr, p_paddr
  for (const at of [32, 40]) header.setBigUint64(EHDR_SIZE + at, BigInt(code.length), true); // p_filesz, p_memsz
  const path = join(folder, `${does}.elf`);
  writeFileSync(path, Buffer.concat([Buffer.from(header.buffer), code]));
  return path;
}

export async function instructions(qmp: QmpClient): Promise<number> {
  const { vcpus } = (await qmp.execute('x-stats')) as { vcpus: readonly { instructions: number }[] };
  return vcpus[0]!.instructions;
}

export interface Rate {
  readonly perMs: number;
  readonly tookMs: number;
}

/** Guest instructions per ms while `work` goes on. */
export async function rateDuring(qmp: QmpClient, work: () => Promise<unknown>): Promise<Rate> {
  const [begin, before] = [performance.now(), await instructions(qmp)];
  await work();
  const tookMs = performance.now() - begin;
  return { perMs: ((await instructions(qmp)) - before) / tookMs, tookMs };
}
