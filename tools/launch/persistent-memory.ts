/** The host's memory that outlives its kernel, for one guest. */
import { parseSize } from '../cli/size-option.ts';

const MIB = 2 ** 20;
/** Page tables, the guest's saved state, and room beside them. */
const BESIDE_RAM = 64 * MIB;

/** Bytes of pkernfs for a guest with this memory, as -m takes it. */
export function pkernfsBytesFor(memory: string): number {
  const ram = parseSize('memory', /^\d+$/.test(memory) ? `${memory}M` : memory);
  return Math.ceil(ram / (2 * MIB)) * 2 * MIB + BESIDE_RAM;
}
