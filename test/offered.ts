/**
 * What tests need that is not part of this project. What is not there is told on stderr, in one
 * line each: the tests are skipped.
 */

/** `is`, which says whether it is there. `what`: what it is, and how to get it. */
export function isOffered(is: boolean, what: string): boolean {
  if (!is) process.stderr.write(`skipped: ${what}\n`);
  return is;
}
