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
export const CAUSE_USER_ECALL = 8; // + the mode: 9 from S, 11 from M
export const CAUSE_FETCH_PAGE = 12;
export const CAUSE_LOAD_PAGE = 13;
export const CAUSE_STORE_PAGE = 15; // store and AMO
/** What medeleg can delegate: all of these but an ECALL from M mode. */
export const DELEGABLE = 0xb3ff;

// Privilege modes (priv-isa §1.2).
export const MODE_U = 0;
export const MODE_S = 1;
export const MODE_M = 3;

// Interrupt codes, mcause with bit 63 set; also the bit numbers of mip and mie.
export const IRQ_S_SOFT = 1;
export const IRQ_M_SOFT = 3;
export const IRQ_S_TIMER = 5;
export const IRQ_M_TIMER = 7;
export const IRQ_S_EXT = 9;
export const IRQ_M_EXT = 11;

/** The interrupts that this hart can take, in order of priority (priv-isa §3.1.9). */
export const IRQ_PRIORITY = [IRQ_M_EXT, IRQ_M_SOFT, IRQ_M_TIMER, IRQ_S_EXT, IRQ_S_SOFT, IRQ_S_TIMER] as const;
export const IRQ_MASK_M = (1 << IRQ_M_SOFT) | (1 << IRQ_M_TIMER) | (1 << IRQ_M_EXT);
export const IRQ_MASK_S = (1 << IRQ_S_SOFT) | (1 << IRQ_S_TIMER) | (1 << IRQ_S_EXT);
export const IRQ_MASK = IRQ_MASK_M | IRQ_MASK_S;

// mstatus (priv-isa §3.1.6)
export const MSTATUS_SIE = 1 << 1;
export const MSTATUS_MIE = 1 << 3;
export const MSTATUS_SPIE = 1 << 5;
export const MSTATUS_MPIE = 1 << 7;
export const MSTATUS_SPP = 1 << 8;
export const MSTATUS_MPP = 3 << 11;
export const MPP_SHIFT = 11;
/** FS: Off 0, Initial 1, Clean 2, Dirty 3. */
export const MSTATUS_FS = 3 << 13;
export const MSTATUS_MPRV = 1 << 17;
export const MSTATUS_SUM = 1 << 18;
export const MSTATUS_MXR = 1 << 19;
export const MSTATUS_TVM = 1 << 20;
export const MSTATUS_TW = 1 << 21;
export const MSTATUS_TSR = 1 << 22;
/** UXL and SXL: 64 bits, read only. */
export const MSTATUS_XL = (2n << 32n) | (2n << 34n);
export const SSTATUS_XL = 2n << 32n;
/** SD: FS is Dirty. */
export const MSTATUS_SD = 1n << 63n;
/** What sstatus shows of mstatus, beside UXL and SD (priv-isa §10.1.1). */
export const SSTATUS_MASK = MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR;
export const MSTATUS_MASK =
  SSTATUS_MASK | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR;

// satp (priv-isa §10.1.11): ASIDs have 0 bits here
export const SATP_MODE_SHIFT = 60n;
export const SATP_SV39 = 8n;
export const SATP_SV48 = 9n;
export const PPN_MASK = (1n << 44n) - 1n;
export const SATP_MASK = (15n << SATP_MODE_SHIFT) | PPN_MASK;

// menvcfg and senvcfg (priv-isa §3.1.18, §10.1.10); ADUE is Svadu's, STCE is Sstc's.
export const ENVCFG_FIOM = 1n << 0n;
export const ENVCFG_ADUE = 1n << 61n;
export const ENVCFG_STCE = 1n << 63n;
export const MENVCFG_MASK = ENVCFG_FIOM | ENVCFG_ADUE | ENVCFG_STCE;

/** The extensions of this hart, as the device tree names them (riscv,isa-extensions). */
export const ISA_EXTENSIONS: readonly string[] = [
  ...['i', 'm', 'a', 'f', 'd', 'c'],
  ...['zicntr', 'zicsr', 'zifencei', 'zba', 'zbb', 'zbs', 'smaia', 'ssaia', 'sstc', 'svadu'],
];
const LETTERS = ISA_EXTENSIONS.filter((name) => name.length === 1);
const AIA_EXTENSIONS = ['smaia', 'ssaia'];

/** The extensions of a hart that has an interrupt file, or has none. */
export const isaExtensions = (aia: boolean): readonly string[] =>
  ISA_EXTENSIONS.filter((name) => aia || !AIA_EXTENSIONS.includes(name));

/** The same as one string: rv64imafdc_zicntr_… */
export const isaString = (aia: boolean): string =>
  ['rv64', ...LETTERS, ...isaExtensions(aia).flatMap((name) => (name.length > 1 ? [`_${name}`] : []))].join('');

/**
 * misa: MXL = 2 (64 bits), the letters of the extensions, B for Zba, Zbb, Zbs, S and U (priv-isa
 * §3.1.1).
 */
export const MISA = [...LETTERS, 'b', 's', 'u'].reduce(
  (misa, letter) => misa | (1n << BigInt(letter.charCodeAt(0) - 97)),
  2n << 62n,
);
