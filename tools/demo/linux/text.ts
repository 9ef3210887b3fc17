/** A run with Linux for human eyes. */
import type { RunDocument } from '../document.ts';
import type { Tile } from '../report.ts';
import { describeWrites } from '../table-writes.ts';
import type { LinuxFacts } from './guests.ts';

export const linuxTiles = ({ guest }: RunDocument<LinuxFacts>): Tile[] => [
  ['frames checked', guest?.framesChecked],
  ['frames lost', guest?.framesLost],
  ['frames corrupt', guest?.framesCorrupt],
  ['files right', guest?.filesRight],
  ['files wrong', guest?.filesWrong],
  ['pings answered', guest?.pingsAnswered],
  ['pings lost', guest?.pingsLost],
];

export function describeLinux({ verdict, failures, updates, guest, ...rest }: RunDocument<LinuxFacts>): string {
  const lines: string[] = [];
  if (guest) {
    const { framesChecked, framesLost, framesCorrupt, filesRight, filesWrong, pingsAnswered, pingsLost } = guest;
    lines.push(
      `Linux: ${framesChecked} frames checked by a driver in user space, ${framesLost} lost, ${framesCorrupt} corrupt; ` +
        `${filesRight} files right, ${filesWrong} wrong; ${pingsAnswered} pings answered, ${pingsLost} lost`,
    );
  }
  lines.push(`page-table words written during updates: ${rest.pteWritesDuringUpdates}`, ...describeWrites(updates));
  if (rest.ramHashMatches !== null)
    lines.push(`guest RAM, VMM's mapping and board's: ${rest.ramHashMatches ? 'same' : 'DIFFERENT'}`);
  lines.push(...failures.map((failure) => `- ${failure}`));
  lines.push(`${verdict}: ${updates.length} ${updates.length === 1 ? 'update' : 'updates'}`);
  return `${lines.join('\n')}\n`;
}
