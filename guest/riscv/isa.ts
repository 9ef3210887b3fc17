/**
 * Numbers of the RISC-V privileged ISA (20240411) and of AIA 1.0 that the hart knows, in the
 * manual's order.
 */

// Exception codes, mcause with bit 63 clear (priv-isa §3.1.15, table 14).
export const CAUSE_FETCH_ACCESS = 1;
export const CAUSE_ILLEGAL_INSTRUCTION = 2;
export const CAUSE_BREAKPOINT = 3;
export const CAUSE_MISALIGNED_LOAD = 4;
export const CAUSE_LOAD_ACCESS = 5;
export const CAUSE_MISALIGNED_STORE = 6; // store and AMO
export const CAUSE_STORE_ACCESS = 7; // store and AMO
export const CAUSE_MACHINE_ECALL = 11;

// Interrupt codes, mcause with bit 63 set; also the bit numbers of mip and mie.
export const IRQ_M_SOFT = 3;
export const IRQ_M_TIMER = 7;
export const IRQ_M_EXT = 11;

/** The interrupts this hart can take, in order of priority (priv-isa §3.1.9: MEI, MSI, MTI). */
export const IRQ_PRIORITY = [IRQ_M_EXT, IRQ_M_SOFT, IRQ_M_TIMER] as const;
export const IRQ_MASK = (1 << IRQ_M_SOFT) | (1 << IRQ_M_TIMER) | (1 << IRQ_M_EXT);

// mstatus (priv-isa §3.1.6); MPP reads 3, the only mode there is.
export const MSTATUS_MIE = 1 << 3;
export const MSTATUS_MPIE = 1 << 7;
export const MSTATUS_MPP = 3 << 11;
/** FS (§3.1.6.6): Off 0, Initial 1, Clean 2, Dirty 3. */
export const MSTATUS_FS = 3 << 13;
/** SD: FS is Dirty. */
export const MSTATUS_SD = 1n << 63n;

/** The extensions of this hart, as the device tree names them (riscv,isa-extensions). */
export const ISA_EXTENSIONS: readonly string[] = [
  ...['i', 'm', 'a', 'f', 'd', 'c'],
  ...['zicntr', 'zicsr', 'zifencei', 'zba', 'zbb', 'zbs', 'smaia'],
];
const LETTERS = ISA_EXTENSIONS.filter((name) => name.length === 1);
/** The same as one string: rv64imafdc_zicntr_… */
export const ISA = [
  'rv64',
  ...LETTERS,
  ...ISA_EXTENSIONS.filter((name) => name.length > 1).map((name) => `_${name}`),
].join('');

/**
 * misa: MXL = 2 (64 bits), the letters of the extensions, and B for Zba, Zbb, Zbs (priv-isa
 * §3.1.1).
 */
export const MISA = [...LETTERS, 'b'].reduce(
  (misa, letter) => misa | (1n << BigInt(letter.charCodeAt(0) - 97)),
  2n << 62n,
);

// CSR addresses (priv-isa §2.2; AIA §2.1).
export const CSR_FFLAGS = 0x001;
export const CSR_FRM = 0x002;
export const CSR_FCSR = 0x003;
export const CSR_MSTATUS = 0x300;
export const CSR_MISA = 0x301;
export const CSR_MIE = 0x304;
export const CSR_MTVEC = 0x305;
export const CSR_MCOUNTEREN = 0x306;
export const CSR_MCOUNTINHIBIT = 0x320;
export const CSR_MHPMEVENT3 = 0x323;
export const CSR_MHPMEVENT31 = 0x33f;
export const CSR_MSCRATCH = 0x340;
export const CSR_MEPC = 0x341;
export const CSR_MCAUSE = 0x342;
export const CSR_MTVAL = 0x343;
export const CSR_MIP = 0x344;
export const CSR_MISELECT = 0x350;
export const CSR_MIREG = 0x351;
export const CSR_MTOPEI = 0x35c;
export const CSR_PMPCFG0 = 0x3a0;
export const CSR_PMPCFG15 = 0x3af;
export const CSR_PMPADDR0 = 0x3b0;
export const CSR_PMPADDR63 = 0x3ef;
export const CSR_MCYCLE = 0xb00;
export const CSR_MINSTRET = 0xb02;
export const CSR_MHPMCOUNTER3 = 0xb03;
export const CSR_MHPMCOUNTER31 = 0xb1f;
export const CSR_CYCLE = 0xc00;
export const CSR_TIME = 0xc01;
export const CSR_INSTRET = 0xc02;
export const CSR_MVENDORID = 0xf11;
export const CSR_MARCHID = 0xf12;
export const CSR_MIMPID = 0xf13;
export const CSR_MHARTID = 0xf14;
export const CSR_MCONFIGPTR = 0xf15;
export const CSR_MTOPI = 0xfb0;
