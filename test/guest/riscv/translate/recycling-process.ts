/**
 * A process of its own: runs more regions than a translator may have, again and again, so that all
 * are dropped each time. Prints what the process holds after each pass, in MiB. `--expose-gc`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { encode } from '../encode.ts';
import { RAM_BASE } from '../fixture.ts';
import { registers } from '../supervisor.ts';
import { Pair } from './pair.ts';

const [REGIONS, PASSES] = process.argv.slice(2).map(Number) as [number, number];
/** How long V8 may take to free code after a collection. */
const FREED_MS = 50;

/** Each jumps to the next one by a register, which makes it a region of its own. */
const step = [encode('addi', { rd: 11, rs1: 11, imm: 8 }), encode('jalr', { rs1: 11 })];
const again = [encode('addi', { rd: 11, rs1: 12 }), encode('jalr', { rs1: 11 })];
const steps = REGIONS + 1;
const words = [...Array.from({ length: steps }, () => step).flat(), ...again];
const base = BigInt(RAM_BASE);
const { translated, translator } = new Pair(
  { words: { 0: words.map((word) => word >>> 0) }, x: registers({ 11: base, 12: base }) },
  { regions: REGIONS },
);
for (let pass = 1; pass <= PASSES; pass++) {
  translated.run(2 * (steps + 1));
  if (translator.translated < pass * steps) throw new Error(`pass ${pass}: ${translator.translated} regions`);
  for (let i = 0; i < 3; i++) {
    global.gc!();
    await sleep(FREED_MS);
  }
  process.stdout.write(`${Math.round(process.memoryUsage.rss() / 2 ** 20)}\n`);
}
