/**
 * Constants of the RISC-V IOMMU Architecture Specification 1.0.0: the register file (chapter 5),
 * and commands and fault records (chapter 3).
 */

/**
 * Byte offsets in the register file. 64-bit registers are marked; they may be reached in halves.
 */
export const REG = {
  capabilities: 0x000, // 64
  fctl: 0x008,
  ddtp: 0x010, // 64
  cqb: 0x018, // 64
  cqh: 0x020,
  cqt: 0x024,
  fqb: 0x028, // 64
  fqh: 0x030,
  fqt: 0x034,
  pqb: 0x038, // 64; 0 without ATS, as pqh, pqt, pqcsr
  cqcsr: 0x048,
  fqcsr: 0x04c,
  pqcsr: 0x050,
  ipsr: 0x054,
  trReqIova: 0x258, // 64
  trReqCtl: 0x260, // 64
  trResponse: 0x268, // 64
  icvec: 0x2f8, // 64
  msiCfgTbl: 0x300, // 16 entries of 16 bytes: address (64), data, vector control
  end: 0x400,
} as const;

// IOMMU spec §5.3 capabilities, low word
export const CAP_VERSION_1_0 = 0x10;
export const CAP_SV39 = 1 << 9;
export const CAP_SV48 = 1 << 10;
export const CAP_SV39X4 = 1 << 17;
export const CAP_SV48X4 = 1 << 18;
export const CAP_AMO_MRIF = 1 << 21;
export const CAP_MSI_FLAT = 1 << 22;
export const CAP_MSI_MRIF = 1 << 23;
export const CAP_IGS_BOTH = 2 << 28;
export const CAP_DBG = 1 << 31;
// capabilities, high word
export const CAP_HI_PAS_MASK = 0x3f;
/**
 * A bit for custom use (63:56). With it, leaves with W and without R are not reserved: devices may
 * write there and not read.
 */
export const CAP_HI_WRITE_ONLY = 1 << 24;

// §5.4 fctl: BE and GXL are hardwired to 0
export const FCTL_WSI = 1 << 1;

// §5.5 ddtp
export const DDTP_MODE_MASK = 0xf;
export const DDTP_OFF = 0;
export const DDTP_BARE = 1;
export const DDTP_1LVL = 2;
export const DDTP_3LVL = 4;

// §5.15 cqcsr
export const CQCSR_CQEN = 1 << 0;
export const CQCSR_CIE = 1 << 1;
export const CQCSR_CQMF = 1 << 8;
export const CQCSR_CMD_TO = 1 << 9;
export const CQCSR_CMD_ILL = 1 << 10;
export const CQCSR_FENCE_W_IP = 1 << 11;
export const CQCSR_CQON = 1 << 16;
export const CQCSR_ERRORS = CQCSR_CQMF | CQCSR_CMD_TO | CQCSR_CMD_ILL;
export const CQCSR_W1C = CQCSR_ERRORS | CQCSR_FENCE_W_IP;

// §5.16 fqcsr
export const FQCSR_FQEN = 1 << 0;
export const FQCSR_FIE = 1 << 1;
export const FQCSR_FQMF = 1 << 8;
export const FQCSR_FQOF = 1 << 9;
export const FQCSR_FQON = 1 << 16;
export const FQCSR_W1C = FQCSR_FQMF | FQCSR_FQOF;

// §5.18 ipsr; bit n uses vector field n of icvec
export const IPSR_CIP = 1 << 0;
export const IPSR_FIP = 1 << 1;

// §5.25 tr_req_ctl, low word
export const TR_GO = 1 << 0;
export const TR_NW = 1 << 3;
// §5.26 tr_response
export const TR_FAULT = 1 << 0;
export const TR_SUPERPAGE = 1 << 9;

// §3.1 commands, first word: opcode 6:0, func3 9:7
export const OP_IOTINVAL_VMA = 1;
export const OP_IOTINVAL_GVMA = 1 | (1 << 7);
export const OP_IOFENCE_C = 2;
export const OP_IODIR_INVAL_DDT = 3;
export const OP_MASK = 0x3ff;
export const COMMAND_BYTES = 16;

// §3.2 fault records
export const CAUSE_READ_ACCESS = 5;
export const CAUSE_WRITE_ACCESS = 7;
export const CAUSE_READ_PAGE = 13;
export const CAUSE_WRITE_PAGE = 15;
export const CAUSE_READ_GUEST_PAGE = 21;
export const CAUSE_WRITE_GUEST_PAGE = 23;
export const CAUSE_ALL_DISALLOWED = 256;
export const CAUSE_DDT_LOAD_ACCESS = 257;
export const CAUSE_DDT_NOT_VALID = 258;
export const CAUSE_DDT_MISCONFIGURED = 259;
export const CAUSE_TYPE_DISALLOWED = 260;
export const CAUSE_MSI_LOAD_ACCESS = 261;
export const CAUSE_MSI_NOT_VALID = 262;
export const CAUSE_MSI_MISCONFIGURED = 263;
export const CAUSE_MRIF_ACCESS = 264;
export const CAUSE_MSI_WRITE_ACCESS = 273;

export const TTYP_NONE = 0;
export const TTYP_READ = 2;
export const TTYP_WRITE = 3;
export const FAULT_BYTES = 32;

/** Causes that are reported even with DC.tc.DTF set (§3.2, table of causes). */
export const reportedWithDtf = (cause: number): boolean =>
  (cause >= CAUSE_ALL_DISALLOWED && cause <= CAUSE_DDT_MISCONFIGURED) || cause === CAUSE_MSI_WRITE_ACCESS;
