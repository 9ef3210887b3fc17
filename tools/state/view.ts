/** A saved state as this build sees it: what is in it, and whether this build could take it. */

import type { ScannedSection } from '../../platform/packed-sections.ts';
import type { Versioned } from '../../platform/section.ts';
import { scanState } from '../../vmm/live-update/state-file.ts';
import { SURVIVORS } from '../../vmm/live-update/survivors.ts';
import { fieldsOf, jsonOf, leafText } from './fields.ts';

/**
 * Whether this build takes a section: as it is, by a conversion from an earlier version, not at all
 * because it does not know it, or because something is wrong in it.
 */
export type Reading = 'same' | 'converted' | 'unknown' | 'refused';

export interface SectionView {
  readonly name: string;
  readonly version: number;
  /** Bytes of its packed body. */
  readonly bytes: number;
  readonly reading: Reading;
  /** Why the section is refused. */
  readonly reason?: string;
  /** As it was saved; with the right types where this build knows the version. */
  readonly body: Versioned;
}

export interface StateView {
  readonly format: number;
  /** Bytes of the whole file. */
  readonly bytes: number;
  /** CLOCK_MONOTONIC ns of the execve that the state was saved for; 0: for none. */
  readonly completeNs: number;
  /** How many sections the file says that it has. */
  readonly count: number;
  /** The sections before the first damage; their checksums are right. */
  readonly sections: readonly SectionView[];
  /** The first thing that is wrong with the file. */
  readonly damage?: string;
}

/** EINVAL: not the state of a livevmm, or one of another format. */
export function viewState(file: Uint8Array): StateView {
  const { sections, damage, ...head } = scanState(file);
  return {
    ...head,
    bytes: file.length,
    sections: sections.map(viewSection),
    ...(damage === undefined ? {} : { damage }),
  };
}

function viewSection({ name, version, size, body }: ScannedSection): SectionView {
  const known = { name, version, bytes: size };
  const section = SURVIVORS.find(({ section }) => section.name === name)?.section;
  if (!section) return { ...known, reading: 'unknown', body };
  try {
    const decoded = section.decode(body);
    return version === section.version
      ? { ...known, reading: 'same', body: decoded }
      : { ...known, reading: 'converted', body };
  } catch (error) {
    return { ...known, reading: 'refused', reason: (error as Error).message, body };
  }
}

const READING: Readonly<Record<Reading, string>> = {
  same: 'this build reads it',
  converted: 'this build converts it',
  unknown: 'this build does not know it',
  refused: 'this build refuses it',
};

/** The values of a section, without the version, which is told before. */
export function contentOf({ body }: SectionView): ReturnType<typeof fieldsOf> {
  const { version: _, ...content } = body;
  return fieldsOf(content);
}

export function describeState(state: StateView): string {
  const { format, bytes, completeNs, count, sections, damage } = state;
  const when = `complete at ${(completeNs / 1e9).toFixed(6)} s (CLOCK_MONOTONIC)`;
  const shown = damage === undefined ? `${count} sections` : `the first ${sections.length} of ${count} sections`;
  return `state of a livevmm, format ${format}, ${bytes} bytes, ${shown}, ${when}\n${sections.map(describeSection).join('')}`;
}

function describeSection(section: SectionView): string {
  const { name, version, bytes, reading, reason } = section;
  const head = `section ${name}: version ${version}, ${bytes} bytes, checksum ok, ${READING[reading]}`;
  const fields = [...contentOf(section)].filter(([path]) => path !== '');
  const width = Math.max(0, ...fields.map(([path]) => path.length));
  const lines = fields.map(([path, value]) => `  ${path.padEnd(width)}  ${leafText(value)}\n`);
  return `\n${head}${reason === undefined ? '' : ` (${reason})`}\n${lines.join('')}`;
}

/** For --json. */
export const stateJson = ({ sections, ...state }: StateView): unknown => ({
  ...state,
  sections: sections.map(({ body, ...section }) => ({ ...section, checksum: 'ok', body: jsonOf(body) })),
});
