/** Something to put defects in, for mutants.test.ts. */
export const next = (n: number): number => n + 1;
export const unused = 'a';
