/**
 * All CSRs as software sees them (priv-isa §2.2, §3.1, §10.1; unpriv-isa §20.2; AIA §2.1, §2.2;
 * Sstc). Reads give and writes take unsigned 64-bit bigints; a write makes the value legal (WARL).
 * Privilege and read-only addresses are checked before (zicsr.ts).
 */
import type { ControlStatus } from './csr.ts';
import * as at from './csr-numbers.ts';
import { readSelected, topInterrupt, writeSelected } from './interrupt-registers.ts';
import * as isa from './isa.ts';

export interface CsrAccess {
  /** undefined: an illegal instruction here and now. */
  readonly read: (csr: ControlStatus) => bigint | undefined;
  /** Absent: a write is ignored. It returns false for an illegal instruction here and now. */
  readonly write?: (csr: ControlStatus, value: bigint) => unknown;
}

type BigField = 'mscratch' | 'mcause' | 'mtval' | 'sscratch' | 'scause' | 'stval';

const table = new Map<number, CsrAccess>();

function define(address: number, read: CsrAccess['read'], write?: CsrAccess['write']): void {
  table.set(address, write ? { read, write } : { read });
}

/** A register of 64 bits without any meaning to the hart. */
const plain = (address: number, field: BigField): void =>
  define(
    address,
    (csr) => csr[field],
    (csr, value) => {
      csr[field] = value;
    },
  );

const zero = (address: number): void => define(address, () => 0n);

/** The CSR at `address`; undefined if there is none. */
export const csrAt = (address: number): CsrAccess | undefined => table.get(address);

// Floating point (unpriv-isa §20.2): no such CSRs while FS is Off (priv-isa §3.1.6.6).
const withFloat =
  (read: (csr: ControlStatus) => number): CsrAccess['read'] =>
  (csr) =>
    csr.mstatus & isa.MSTATUS_FS ? BigInt(read(csr)) : undefined;

const setFloat =
  (set: (csr: ControlStatus, value: number) => void): CsrAccess['write'] =>
  (csr, value) => {
    if ((csr.mstatus & isa.MSTATUS_FS) === 0) return false;
    csr.mstatus |= isa.MSTATUS_FS;
    set(csr, Number(value & 0xffn));
    return true;
  };

define(
  at.CSR_FFLAGS,
  withFloat(({ float }) => float.flags),
  setFloat(({ float }, value) => {
    float.flags = value & 31;
  }),
);
define(
  at.CSR_FRM,
  withFloat(({ float }) => float.frm),
  setFloat(({ float }, value) => {
    float.frm = value & 7;
  }),
);
define(
  at.CSR_FCSR,
  withFloat(({ float }) => (float.frm << 5) | float.flags),
  setFloat(({ float }, value) => {
    float.flags = value & 31;
    float.frm = value >> 5;
  }),
);

// Status (priv-isa §3.1.6, §10.1.1)
const dirty = (csr: ControlStatus): bigint => ((csr.mstatus & isa.MSTATUS_FS) === isa.MSTATUS_FS ? isa.MSTATUS_SD : 0n);

function writeStatus(csr: ControlStatus, mask: number, value: bigint): void {
  let mstatus = (csr.mstatus & ~mask) | (Number(BigInt.asUintN(32, value)) & mask);
  // MPP cannot be 2: it stays as it was
  if ((mstatus & isa.MSTATUS_MPP) >> isa.MPP_SHIFT === 2) {
    mstatus = (mstatus & ~isa.MSTATUS_MPP) | (csr.mstatus & isa.MSTATUS_MPP);
  }
  csr.mstatus = mstatus;
}

define(
  at.CSR_MSTATUS,
  (csr) => BigInt(csr.mstatus) | isa.MSTATUS_XL | dirty(csr),
  (csr, value) => writeStatus(csr, isa.MSTATUS_MASK, value),
);
define(
  at.CSR_SSTATUS,
  (csr) => BigInt(csr.mstatus & isa.SSTATUS_MASK) | isa.SSTATUS_XL | dirty(csr),
  (csr, value) => writeStatus(csr, isa.SSTATUS_MASK, value),
);

// Traps (priv-isa §3.1.7, §3.1.14–16, §10.1.2, §10.1.7–9)
/**
 * A vector whose mode is reserved, or that no number holds exactly, leaves the register as it was:
 * WARL.
 */
const isVector = (value: bigint): boolean => {
  const address = BigInt.asIntN(64, value);
  return (value & 2n) === 0n && address < 1n << 52n && address > -(1n << 52n);
};
define(
  at.CSR_MTVEC,
  (csr) => csr.mtvec,
  (csr, value) => {
    if (isVector(value)) csr.mtvec = value;
  },
);
define(
  at.CSR_STVEC,
  (csr) => csr.stvec,
  (csr, value) => {
    if (isVector(value)) csr.stvec = value;
  },
);
// IALIGN = 16
define(
  at.CSR_MEPC,
  (csr) => csr.mepc,
  (csr, value) => {
    csr.mepc = value & ~1n;
  },
);
define(
  at.CSR_SEPC,
  (csr) => csr.sepc,
  (csr, value) => {
    csr.sepc = value & ~1n;
  },
);
plain(at.CSR_MSCRATCH, 'mscratch');
plain(at.CSR_MCAUSE, 'mcause');
plain(at.CSR_MTVAL, 'mtval');
plain(at.CSR_SSCRATCH, 'sscratch');
plain(at.CSR_SCAUSE, 'scause');
plain(at.CSR_STVAL, 'stval');
define(
  at.CSR_MEDELEG,
  (csr) => BigInt(csr.medeleg),
  (csr, value) => {
    csr.medeleg = Number(value & BigInt(isa.DELEGABLE));
  },
);
define(
  at.CSR_MIDELEG,
  (csr) => BigInt(csr.mideleg),
  (csr, value) => {
    csr.mideleg = Number(value & BigInt(isa.IRQ_MASK_S));
  },
);

// Interrupts (priv-isa §3.1.9, §10.1.3)
/** Writes bits of mip that software may set. STIP is the timer's where Sstc is enabled. */
function writePending(csr: ControlStatus, mask: number, value: bigint): void {
  const writable = csr.hasStimecmp() ? mask & ~(1 << isa.IRQ_S_TIMER) : mask;
  csr.softPending = (csr.softPending & ~writable) | (Number(value & 0xffffn) & writable);
}

function writeEnable(csr: ControlStatus, mask: number, value: bigint): void {
  csr.mie = (csr.mie & ~mask) | (Number(value & 0xffffn) & mask);
}

define(
  at.CSR_MIP,
  (csr) => BigInt(csr.mip()),
  (csr, value) => writePending(csr, isa.IRQ_MASK_S, value),
);
define(
  at.CSR_MIE,
  (csr) => BigInt(csr.mie),
  (csr, value) => writeEnable(csr, isa.IRQ_MASK, value),
);
define(
  at.CSR_SIP,
  (csr) => BigInt(csr.mip() & csr.mideleg),
  (csr, value) => writePending(csr, csr.mideleg & (1 << isa.IRQ_S_SOFT), value),
);
define(
  at.CSR_SIE,
  (csr) => BigInt(csr.mie & csr.mideleg),
  (csr, value) => writeEnable(csr, csr.mideleg, value),
);

// Translation (priv-isa §10.1.11): an unsupported mode leaves satp as it was
define(
  at.CSR_SATP,
  (csr) => csr.satp,
  (csr, value) => {
    const scheme = value >> isa.SATP_MODE_SHIFT;
    if (scheme !== 0n && scheme !== isa.SATP_SV39 && scheme !== isa.SATP_SV48) return;
    csr.satp = value & isa.SATP_MASK;
    csr.stale = true;
  },
);

// Environment (priv-isa §3.1.18, §10.1.10). FIOM changes nothing: every FENCE is a full one.
define(
  at.CSR_MENVCFG,
  (csr) => csr.menvcfg,
  (csr, value) => {
    csr.menvcfg = value & isa.MENVCFG_MASK;
    csr.stale = true;
  },
);
define(
  at.CSR_SENVCFG,
  (csr) => csr.senvcfg,
  (csr, value) => {
    csr.senvcfg = value & isa.ENVCFG_FIOM;
  },
);

// Counters (priv-isa §3.1.10–12, §10.1.5): nothing can be inhibited; the others count nothing
define(
  at.CSR_MCOUNTEREN,
  (csr) => BigInt(csr.mcounteren),
  (csr, value) => {
    csr.mcounteren = Number(value & 7n);
  },
);
define(
  at.CSR_SCOUNTEREN,
  (csr) => BigInt(csr.scounteren),
  (csr, value) => {
    csr.scounteren = Number(value & 7n);
  },
);
// the next instruction reads the value written
define(
  at.CSR_MCYCLE,
  (csr) => csr.mcycle(),
  (csr, value) => {
    csr.cycleOffset = value - BigInt(csr.begun + 1);
  },
);
define(
  at.CSR_MINSTRET,
  (csr) => csr.minstret(),
  (csr, value) => {
    csr.instretOffset = value - BigInt(csr.begun + 1 - csr.trapped);
  },
);
define(at.CSR_CYCLE, (csr) => csr.mcycle());
define(at.CSR_INSTRET, (csr) => csr.minstret());
define(at.CSR_TIME, (csr) => csr.time());
define(
  at.CSR_STIMECMP,
  (csr) => csr.stimecmp,
  (csr, value) => {
    csr.stimecmp = value;
  },
);
zero(at.CSR_MCOUNTINHIBIT);
for (let csr = at.CSR_MHPMCOUNTER3; csr <= at.CSR_MHPMCOUNTER31; csr++) zero(csr);
for (let csr = at.CSR_MHPMEVENT3; csr <= at.CSR_MHPMEVENT31; csr++) zero(csr);

// Identity (priv-isa §3.1.1–5, §3.1.17); 0: not implemented, non-commercial
define(at.CSR_MISA, () => isa.MISA); // writable in theory, fixed here
define(at.CSR_MHARTID, (csr) => csr.hartId);
zero(at.CSR_MVENDORID);
zero(at.CSR_MARCHID);
zero(at.CSR_MIMPID);
zero(at.CSR_MCONFIGPTR);

// PMP (priv-isa §3.7.1): pmpcfg has even numbers only on RV64
for (let csr = at.CSR_PMPCFG0; csr <= at.CSR_PMPCFG15; csr += 2) {
  const number = csr - at.CSR_PMPCFG0;
  define(
    csr,
    ({ pmp }) => pmp.readConfig(number),
    (status, value) => {
      status.pmp.writeConfig(number, value);
      status.stale = true;
    },
  );
}
for (let csr = at.CSR_PMPADDR0; csr <= at.CSR_PMPADDR63; csr++) {
  const entry = csr - at.CSR_PMPADDR0;
  define(
    csr,
    ({ pmp }) => pmp.readAddress(entry),
    (status, value) => {
      status.pmp.writeAddress(entry, value);
      status.stale = true;
    },
  );
}

// AIA (§2.1, §2.2, §5.3): only with an interrupt file of M level
const withFile =
  (read: (csr: ControlStatus) => bigint | undefined): CsrAccess['read'] =>
  (csr) =>
    csr.file ? read(csr) : undefined;

define(
  at.CSR_MISELECT,
  withFile((csr) => BigInt(csr.miselect)),
  (csr, value) => {
    csr.miselect = Number(value & 0xfffn);
  },
);
define(
  at.CSR_MIREG,
  (csr) => readSelected(csr.file, csr.miselect),
  (csr, value) => writeSelected(csr.file, csr.miselect, value),
);
// a write of mtopei or stopei claims, which zicsr.ts does
define(at.CSR_MTOPEI, ({ file }) => file && BigInt(file.top()));
define(
  at.CSR_MTOPI,
  withFile((csr) => topInterrupt(csr.pending(isa.MODE_M))),
);
define(
  at.CSR_SISELECT,
  withFile((csr) => BigInt(csr.siselect)),
  (csr, value) => {
    csr.siselect = Number(value & 0xfffn);
  },
);
define(
  at.CSR_SIREG,
  withFile((csr) => readSelected(csr.supervisorFile, csr.siselect)),
  (csr, value) => writeSelected(csr.supervisorFile, csr.siselect, value),
);
define(at.CSR_STOPEI, ({ supervisorFile }) => supervisorFile && BigInt(supervisorFile.top()));
define(
  at.CSR_STOPI,
  withFile((csr) => topInterrupt(csr.pending(isa.MODE_S))),
);
// no interrupt is virtual here, so mvip is what software has set in mip
define(
  at.CSR_MVIEN,
  withFile(() => 0n),
);
define(
  at.CSR_MVIP,
  withFile((csr) => BigInt(csr.softPending)),
  (csr, value) => writePending(csr, isa.IRQ_MASK_S, value),
);
