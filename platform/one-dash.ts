/**
 * QEMU's users write its long options with one dash. Words with which an option begins get the
 * second one; a word that is an option's value stays as it is. `flags` are options without a value.
 */
export function asTwoDashes(
  words: readonly string[],
  long: readonly string[],
  flags: readonly string[] = [],
): string[] {
  const nameOf = (word = ''): string => word.replace(/^--?/, '');
  const isOption = (word = ''): boolean => word.startsWith('-') && long.includes(nameOf(word));
  const out: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (!isOption(word)) {
      out.push(flags.includes(nameOf(word)) && word.startsWith('-') ? `--${nameOf(word)}` : word);
      continue;
    }
    const value = words[++i];
    // joined: a value may begin with a dash
    out.push(value === undefined ? `--${nameOf(word)}` : `--${nameOf(word)}=${value}`);
  }
  return out;
}
