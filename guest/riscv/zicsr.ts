import type { Core } from './core.ts';
import { CSR_MTOPEI } from './isa.ts';

/**
 * CSRRW, CSRRS, CSRRC and their immediate forms (unpriv-isa §7). False: the instruction is illegal
 * and did nothing.
 */
export function executeCsr(core: Core, insn: number): boolean {
  const csr = insn >>> 20;
  const source = (insn >>> 15) & 31; // rs1, or the immediate itself
  const funct3 = (insn >>> 12) & 7;
  const rd = (insn >>> 7) & 31;
  const operand = funct3 & 4 ? BigInt(source) : BigInt.asUintN(64, core.x[source]!);
  // CSRRS and CSRRC with x0 or 0 do not write at all: read-only CSRs allow that, and mtopei claims
  // nothing.
  const writes = (funct3 & 3) === 1 || source !== 0;

  // Reading and claiming mtopei is one step: an interrupt that arrives between the two must not be
  // claimed unseen.
  const old = csr === CSR_MTOPEI && writes ? core.csr.claim() : core.csr.read(csr);
  if (old === undefined) return false;
  if (writes && csr !== CSR_MTOPEI) {
    const value = (funct3 & 3) === 1 ? operand : (funct3 & 3) === 2 ? old | operand : old & ~operand;
    if (!core.csr.write(csr, value)) return false;
  }
  core.x[rd] = old;
  return true;
}
