/**
 * Changes of the sources by which a thread can die at the stores of translated code, too: that code
 * calls `step` before each of them. Whatever it meets is translated.
 */
import type { Mutant } from '../../../explore/scenario.ts';

/** The number of the imported function. */
const STEP = 4;

/** `end` is where the translators' own memory begins, whose stores nobody else sees. */
export const stepsOfTranslations = (end: number): readonly Mutant[] => [
  {
    name: 'translations-import-a-step',
    file: 'guest/riscv/translate/region.ts',
    find: "      { name: 'decode', type: 3 },\n",
    replace: "      { name: 'decode', type: 3 },\n { name: 'step', type: 4 },\n",
  },
  {
    name: 'the-type-of-a-step',
    file: 'guest/riscv/translate/region.ts',
    find: '      { parameters: [I32, I32], results: [] },\n',
    replace: '      { parameters: [I32, I32], results: [] },\n { parameters: [], results: [] },\n',
  },
  {
    name: 'the-step-of-a-translation',
    file: 'guest/riscv/translate/services.ts',
    find: '        memory: room.memory,\n',
    replace: '        memory: room.memory,\n step,\n',
  },
  {
    name: 'all-is-translated',
    file: 'guest/riscv/translate/translator.ts',
    find: '{ hot = HOT, regions = REGIONS, first = FIRST }',
    replace: '{ hot = 0, regions = 16, first = 0 }',
  },
  {
    name: 'step-before-a-store',
    file: 'guest/riscv/translate/wasm.ts',
    find: '    return this.byte(opcode).byte(0).unsigned(offset);\n',
    replace: `    if (opcode >= op.i32Store && opcode <= op.i64Store32 && offset < ${end}) this.byte(op.call).unsigned(${STEP});
      return this.byte(opcode).byte(0).unsigned(offset);\n`,
  },
  {
    name: 'step-before-an-atomic',
    file: 'guest/riscv/translate/wasm.ts',
    find: '    return this.byte(ATOMIC).byte(opcode).byte(align).unsigned(offset);\n',
    replace: `    if (opcode > atomic.i64Load32U) this.byte(op.call).unsigned(${STEP});
      return this.byte(ATOMIC).byte(opcode).byte(align).unsigned(offset);\n`,
  },
];
