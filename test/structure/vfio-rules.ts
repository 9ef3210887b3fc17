/** The ids of the rules in docs/rules/vfio.md. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path from the root. */
export const RULES = 'docs/rules/vfio.md';

const text = readFileSync(fileURLToPath(new URL(`../../${RULES}`, import.meta.url)), 'utf8');

/** In the order of the document: items of lists, and rows of tables. */
export const rulesDefined: readonly string[] = [...text.matchAll(/^(?:-|\|) \*\*([A-Z][A-Z0-9]*-\d+)\*\*/gm)].map(
  ([, id]) => id!,
);

/** `MAP` of `MAP-3`. */
export const familyOf = (id: string): string => id.slice(0, id.lastIndexOf('-'));
