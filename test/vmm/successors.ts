/** Successors that are no good, for tests of the VMM. */
export { buildIn, nodeThat, PROGRAMS, patch, turncoat } from '../../tools/demo/bad-successors/successors.ts';
