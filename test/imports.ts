/** The files that a source file names in its imports. */
import { dirname, join, normalize } from 'node:path';

export interface Import {
  /** Path from the root, or the package's name. */
  readonly target: string;
  readonly typeOnly: boolean;
}

const FROM = /^(import|export)( type)?\b[^;]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gms;

/** The imports of the file at `path` (from the root), whose text is `text`. */
export function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(FROM)].map((match) => {
    const name = (match[3] ?? match[4] ?? match[5])!;
    const target = name.startsWith('.') ? normalize(join(dirname(path), name)) : name;
    return { target, typeOnly: match[2] !== undefined };
  });
}
