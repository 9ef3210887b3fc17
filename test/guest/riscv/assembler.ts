/** GNU as, where there is one. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const AS = 'riscv64-unknown-elf-as';
const OBJCOPY = 'riscv64-unknown-elf-objcopy';
const MARCH = 'rv64imafdc_zicsr_zifencei_zba_zbb_zbs';

export const hasAssembler = spawnSync(AS, ['--version']).status === 0;

/**
 * The machine words of instructions, as hexadecimal; compressed ones only where the text asks for
 * them.
 */
export function assemble(texts: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'livevmm-listing-'));
  try {
    const source = texts.map(
      (text) => `.option ${/^(c\.|\.half)/.test(text) ? 'rvc' : 'norvc'}\n${text}\n.balign 4, 0\n`,
    );
    writeFileSync(join(folder, 'listing.s'), `.option arch, -c\n${source.join('')}`);
    execFileSync(AS, [`-march=${MARCH}`, '-o', 'listing.o', 'listing.s'], { cwd: folder });
    execFileSync(OBJCOPY, ['-O', 'binary', '-j', '.text', 'listing.o', 'listing.bin'], { cwd: folder });
    const code = readFileSync(join(folder, 'listing.bin'));
    return texts.map((_, i) =>
      code
        .readUInt32LE(4 * i)
        .toString(16)
        .padStart(8, '0'),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
