/**
 * Every 32-bit instruction of this hart, as data: its name, the bits that are fixed, the fields
 * that are free. It is the one decode table: the hart decodes the less frequent groups with it, a
 * translator decodes all, and a test holds the hart's own switch (execute.ts) to it. The 16-bit
 * instructions are short forms of these (compressed.ts).
 *
 * The encodings are those of unpriv-isa §35 "RV32/64G Instruction Set Listings", of §29 for Zba,
 * Zbb and Zbs, and of priv-isa §3.3 and §10.2 for the privileged ones.
 */

/** Which fields an instruction has, beside its opcode; the fixed bits are in `mask`. */
export type Format =
  | 'U' // rd, imm[31:12]
  | 'J' // rd, offset
  | 'I' // rd, rs1, imm[11:0]
  | 'S' // rs1, rs2, imm[11:0]
  | 'B' // rs1, rs2, offset
  | 'R' // rd, rs1, rs2
  | 'shift' // rd, rs1, shamt of 6 bits
  | 'shiftw' // rd, rs1, shamt of 5 bits
  | 'unary' // rd, rs1
  | 'amo' // rd, rs1, rs2, aq, rl
  | 'lr' // rd, rs1, aq, rl
  | 'fma' // rd, rs1, rs2, rs3, rm
  | 'Rrm' // rd, rs1, rs2, rm
  | 'unaryrm' // rd, rs1, rm
  | 'csr' // rd, rs1 or imm[4:0], csr
  | 'fence' // rs1, rs2
  | 'none';

export type Extension = 'I' | 'M' | 'A' | 'F' | 'D' | 'Zicsr' | 'Zifencei' | 'Zba' | 'Zbb' | 'Zbs' | 'machine' | 'S';

export interface Instruction {
  /** Its place in INSTRUCTIONS. */
  readonly id: number;
  readonly name: string;
  readonly format: Format;
  readonly extension: Extension;
  /** A word is this instruction if word & mask = match (both int32). */
  readonly mask: number;
  readonly match: number;
}

/** Bits that are fixed in all instructions of a format. */
const MASK: Readonly<Record<Format, number>> = {
  U: 0x0000_007f,
  J: 0x0000_007f,
  I: 0x0000_707f,
  S: 0x0000_707f,
  B: 0x0000_707f,
  R: 0xfe00_707f,
  shift: 0xfc00_707f,
  shiftw: 0xfe00_707f,
  unary: 0xfff0_707f,
  amo: 0xf800_707f,
  lr: 0xf9f0_707f,
  fma: 0x0600_007f,
  Rrm: 0xfe00_007f,
  unaryrm: 0xfff0_007f,
  csr: 0x0000_707f,
  fence: 0xfe00_7fff,
  none: 0xffff_ffff,
};

/** Lines of `name format match`, the match in hexadecimal. */
const group = (extension: Extension, lines: string): Omit<Instruction, 'id'>[] =>
  lines
    .trim()
    .split('\n')
    .map((line) => {
      const [name, format, match] = line.trim().split(/ +/) as [string, Format, string];
      return { name, format, extension, mask: MASK[format] | 0, match: Number.parseInt(match, 16) | 0 };
    });

/** unpriv-isa §2, §4: RV64I */
const BASE = group(
  'I',
  `lui      U      00000037
   auipc    U      00000017
   jal      J      0000006f
   jalr     I      00000067
   beq      B      00000063
   bne      B      00001063
   blt      B      00004063
   bge      B      00005063
   bltu     B      00006063
   bgeu     B      00007063
   lb       I      00000003
   lh       I      00001003
   lw       I      00002003
   ld       I      00003003
   lbu      I      00004003
   lhu      I      00005003
   lwu      I      00006003
   sb       S      00000023
   sh       S      00001023
   sw       S      00002023
   sd       S      00003023
   addi     I      00000013
   slti     I      00002013
   sltiu    I      00003013
   xori     I      00004013
   ori      I      00006013
   andi     I      00007013
   slli     shift  00001013
   srli     shift  00005013
   srai     shift  40005013
   addiw    I      0000001b
   slliw    shiftw 0000101b
   srliw    shiftw 0000501b
   sraiw    shiftw 4000501b
   add      R      00000033
   sub      R      40000033
   sll      R      00001033
   slt      R      00002033
   sltu     R      00003033
   xor      R      00004033
   srl      R      00005033
   sra      R      40005033
   or       R      00006033
   and      R      00007033
   addw     R      0000003b
   subw     R      4000003b
   sllw     R      0000103b
   srlw     R      0000503b
   sraw     R      4000503b
   fence    I      0000000f
   ecall    none   00000073
   ebreak   none   00100073`,
);

/** unpriv-isa §13 */
const M = group(
  'M',
  `mul      R      02000033
   mulh     R      02001033
   mulhsu   R      02002033
   mulhu    R      02003033
   div      R      02004033
   divu     R      02005033
   rem      R      02006033
   remu     R      02007033
   mulw     R      0200003b
   divw     R      0200403b
   divuw    R      0200503b
   remw     R      0200603b
   remuw    R      0200703b`,
);

/** unpriv-isa §14: Zalrsc and Zaamo */
const A = group(
  'A',
  `lr.w      lr    1000202f
   sc.w      amo   1800202f
   amoswap.w amo   0800202f
   amoadd.w  amo   0000202f
   amoxor.w  amo   2000202f
   amoand.w  amo   6000202f
   amoor.w   amo   4000202f
   amomin.w  amo   8000202f
   amomax.w  amo   a000202f
   amominu.w amo   c000202f
   amomaxu.w amo   e000202f
   lr.d      lr    1000302f
   sc.d      amo   1800302f
   amoswap.d amo   0800302f
   amoadd.d  amo   0000302f
   amoxor.d  amo   2000302f
   amoand.d  amo   6000302f
   amoor.d   amo   4000302f
   amomin.d  amo   8000302f
   amomax.d  amo   a000302f
   amominu.d amo   c000302f
   amomaxu.d amo   e000302f`,
);

/**
 * What F and D both have, as F has it (unpriv-isa §20.6–9, §21.4–7). D sets bit 25, the low one of
 * fmt.
 */
const BOTH_FORMATS = `
   fmadd    fma     00000043
   fmsub    fma     00000047
   fnmsub   fma     0000004b
   fnmadd   fma     0000004f
   fadd     Rrm     00000053
   fsub     Rrm     08000053
   fmul     Rrm     10000053
   fdiv     Rrm     18000053
   fsqrt    unaryrm 58000053
   fsgnj    R       20000053
   fsgnjn   R       20001053
   fsgnjx   R       20002053
   fmin     R       28000053
   fmax     R       28001053
   fle      R       a0000053
   flt      R       a0001053
   feq      R       a0002053
   fcvt.w   unaryrm c0000053
   fcvt.wu  unaryrm c0100053
   fcvt.l   unaryrm c0200053
   fcvt.lu  unaryrm c0300053
   fclass   unary   e0001053`;

/** An integer as source stands behind the format: fcvt.s.w. */
const FROM_INTEGER = `
   w        unaryrm d0000053
   wu       unaryrm d0100053
   l        unaryrm d0200053
   lu       unaryrm d0300053`;

const withFormat = (extension: 'F' | 'D', fmt: string, bit: number): Omit<Instruction, 'id'>[] => [
  ...group(extension, BOTH_FORMATS).map((each) => ({ ...each, name: `${each.name}.${fmt}`, match: each.match | bit })),
  ...group(extension, FROM_INTEGER).map((each) => ({
    ...each,
    name: `fcvt.${fmt}.${each.name}`,
    match: each.match | bit,
  })),
];

/** unpriv-isa §20 */
const F = [
  ...withFormat('F', 's', 0),
  ...group(
    'F',
    `flw       I       00002007
     fsw       S       00002027
     fmv.x.w   unary   e0000053
     fmv.w.x   unary   f0000053`,
  ),
];

/** unpriv-isa §21 */
const D = [
  ...withFormat('D', 'd', 1 << 25),
  ...group(
    'D',
    `fld       I       00003007
     fsd       S       00003027
     fcvt.s.d  unaryrm 40100053
     fcvt.d.s  unaryrm 42000053
     fmv.x.d   unary   e2000053
     fmv.d.x   unary   f2000053`,
  ),
];

/** unpriv-isa §7 */
const ZICSR = group(
  'Zicsr',
  `csrrw     csr   00001073
   csrrs     csr   00002073
   csrrc     csr   00003073
   csrrwi    csr   00005073
   csrrsi    csr   00006073
   csrrci    csr   00007073`,
);

/** unpriv-isa §6 */
const ZIFENCEI = group('Zifencei', 'fence.i I 0000100f');

/** unpriv-isa §29.4.1: address generation */
const ZBA = group(
  'Zba',
  `sh1add    R     20002033
   sh2add    R     20004033
   sh3add    R     20006033
   add.uw    R     0800003b
   sh1add.uw R     2000203b
   sh2add.uw R     2000403b
   sh3add.uw R     2000603b
   slli.uw   shift 0800101b`,
);

/** unpriv-isa §29.4.2: basic bit manipulation */
const ZBB = group(
  'Zbb',
  `andn      R     40007033
   orn       R     40006033
   xnor      R     40004033
   clz       unary 60001013
   clzw      unary 6000101b
   ctz       unary 60101013
   ctzw      unary 6010101b
   cpop      unary 60201013
   cpopw     unary 6020101b
   sext.b    unary 60401013
   sext.h    unary 60501013
   zext.h    unary 0800403b
   max       R     0a006033
   maxu      R     0a007033
   min       R     0a004033
   minu      R     0a005033
   rol       R     60001033
   rolw      R     6000103b
   ror       R     60005033
   rorw      R     6000503b
   rori      shift 60005013
   roriw     shiftw 6000501b
   orc.b     unary 28705013
   rev8      unary 6b805013`,
);

/** unpriv-isa §29.4.4: single bits */
const ZBS = group(
  'Zbs',
  `bclr      R     48001033
   bclri     shift 48001013
   bext      R     48005033
   bexti     shift 48005013
   binv      R     68001033
   binvi     shift 68001013
   bset      R     28001033
   bseti     shift 28001013`,
);

/** priv-isa §3.3 */
const MACHINE = group(
  'machine',
  `mret      none  30200073
   wfi       none  10500073`,
);

/** priv-isa §3.3.2, §10.2.1 */
const S = group(
  'S',
  `sret      none  10200073
   sfence.vma fence 12000073`,
);

export const INSTRUCTIONS: readonly Instruction[] = [
  ...[BASE, M, A, F, D, ZICSR, ZIFENCEI, ZBA, ZBB, ZBS, MACHINE, S].flat(),
].map((instruction, id) => ({ id, ...instruction }));
