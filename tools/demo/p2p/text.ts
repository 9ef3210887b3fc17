/** A peer-to-peer run for human eyes. */
import type { RunDocument } from '../document.ts';
import type { Tile } from '../report.ts';
import { describeWrites } from '../table-writes.ts';
import type { PeerFacts } from './guests.ts';

export const peerTiles = ({ guest }: RunDocument<PeerFacts>): Tile[] => [
  ['frames read by the other guest', guest?.reader.framesChecked],
  ['frames lost', guest?.reader.framesLost],
  ['frames corrupt', guest?.reader.framesCorrupt],
];

export function describePeers({
  verdict,
  failures,
  updates,
  guest,
  interrupts,
  ...rest
}: RunDocument<PeerFacts>): string {
  const lines: string[] = [];
  if (guest) {
    const { framesChecked, framesLost, framesCorrupt, heartbeats } = guest.reader;
    lines.push(
      `the other guest: ${framesChecked} frames read in its own device's memory, ${framesLost} lost, ${framesCorrupt} corrupt, ` +
        `${heartbeats} heartbeats`,
      `frames read during the updates: ${guest.read.map(({ before, after }) => after - before).join(', ')}`,
    );
  }
  if (interrupts) lines.push(`interrupts: ${interrupts.raised} raised, ${interrupts.delivered} delivered`);
  lines.push(`page-table words written during updates: ${rest.pteWritesDuringUpdates}`, ...describeWrites(updates));
  lines.push(...failures.map((failure) => `- ${failure}`));
  lines.push(`${verdict}: ${updates.length} ${updates.length === 1 ? 'update' : 'updates'}`);
  return `${lines.join('\n')}\n`;
}
