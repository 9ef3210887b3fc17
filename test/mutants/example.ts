/** Code into which mutants.test.ts puts defects. */
export const next = (n: number): number => n + 1;
export const unused = 'a';
