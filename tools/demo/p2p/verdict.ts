/** The verdict of a peer-to-peer run: a pure function of its facts. */
import type { RunFacts } from '../facts.ts';
import { interruptFailures, runFailures, unless } from '../verdict.ts';
import type { PeerFacts } from './guests.ts';

/** One line for each fact that is not as it should be. No line means "pass". */
export function findFailures(facts: RunFacts<PeerFacts>): string[] {
  return [
    ...runFailures(facts),
    ...interruptFailures(facts.interrupts),
    ...(facts.guest ? guestFailures(facts.guest) : ['the guests never gave their counts']),
  ];
}

function guestFailures({ writer, reader, read }: PeerFacts): string[] {
  return [
    ...unless(writer.heartbeats > 0, 'the writing guest had no heartbeat'),
    ...unless(reader.heartbeats > 0, 'the reading guest had no heartbeat'),
    ...unless(writer.interrupts > 0, 'the writing guest got no interrupt'),
    ...unless(reader.framesChecked > 0, 'the reading guest checked no frame'),
    ...unless(reader.framesLost === 0, `${reader.framesLost} frames were lost`),
    ...unless(reader.framesCorrupt === 0, `${reader.framesCorrupt} frames were corrupt`),
    ...read.flatMap(({ before, after }, index) =>
      unless(after > before, `update ${index + 1}: the other guest read no frame meanwhile`),
    ),
  ];
}
