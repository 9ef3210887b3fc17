/** The verdict of a run with Linux: a pure function of its facts. */
import type { RunFacts } from '../facts.ts';
import { runFailures, unless } from '../verdict.ts';
import type { LinuxFacts } from './guests.ts';

/**
 * One line for each fact that is not as it should be. A driver in user space takes the frames, and
 * asks for no interrupt, so none is counted.
 */
export function findFailures(facts: RunFacts<LinuxFacts>): readonly string[] {
  return [...runFailures(facts), ...(facts.guest ? guestFailures(facts.guest) : ['Linux never gave its final count'])];
}

function guestFailures(guest: LinuxFacts): string[] {
  return [
    ...unless(guest.framesChecked > 0, 'Linux checked no frame'),
    ...unless(guest.framesLost === 0, `${guest.framesLost} frames were lost`),
    ...unless(guest.framesCorrupt === 0, `${guest.framesCorrupt} frames were corrupt`),
    ...unless(guest.filesRight > 0, 'Linux checked no file'),
    ...unless(guest.filesWrong === 0, `${guest.filesWrong} files were wrong`),
    ...unless(guest.pingsAnswered > 0, 'no ping was answered'),
    ...unless(guest.pingsLost === 0, `${guest.pingsLost} pings were lost`),
  ];
}
