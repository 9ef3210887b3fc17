/** The verdict of a demo run: a pure function of its facts. */

import type { GuestFacts } from '../launch/guest-console.ts';
import type { DemoFacts, DeviceFacts, InterruptFacts, RunFacts, UpdateFacts } from './facts.ts';

/** One line for each fact that is not as it should be. No line means "pass". */
export function findFailures(facts: DemoFacts): string[] {
  return [
    ...runFailures(facts),
    ...interruptFailures(facts.interrupts),
    ...(facts.guest ? guestFailures(facts.guest) : ['the guest never gave its final count']),
  ];
}

/** All but interrupts and what the guests say. */
export function runFailures(facts: RunFacts<unknown>): string[] {
  return [
    ...facts.errors,
    ...(facts.updates.length === facts.updatesWanted
      ? []
      : [`${facts.updates.length} of ${facts.updatesWanted} updates completed`]),
    ...facts.updates.flatMap((update, index) => updateFailures(update, index, facts.pid)),
    ...mediatedFailures(facts.updates),
    ...unless(
      facts.pteWritesDuringUpdates === 0,
      `${facts.pteWritesDuringUpdates} page-table words were written during updates`,
    ),
    ...unless(facts.ramHashMatches !== null, 'guest RAM was not hashed'),
    ...unless(facts.ramHashMatches !== false, "guest RAM differs between the VMM's mapping and the board's"),
  ];
}

export const unless = (holds: boolean, line: string): string[] => (holds ? [] : [line]);

function updateFailures(update: UpdateFacts, index: number, pid: number): string[] {
  const what = `update ${index + 1}`;
  return [
    ...unless(update.generation === index + 1, `${what}: generation is ${update.generation}`),
    ...unless(update.pid === pid, `${what}: pid changed from ${pid} to ${update.pid}`),
    ...unless(update.vaddrOld !== update.vaddrNew, `${what}: RAM is at the same vaddr ${update.vaddrNew} again`),
    ...unless(update.pauseEndNs > update.pauseStartNs, `${what}: no pause was measured`),
    ...unless(update.tables?.before === update.tables?.after, `${what}: the page tables have changed`),
    ...logFailures(update, what),
    ...unless(update.heartbeatsAfter > update.heartbeatsBefore, `${what}: the guest's heart stopped`),
    ...update.devices.flatMap((device) => deviceFailures(device, what)),
    ...unless(update.devices.some(isCapture), `${what}: no capture device was observed`),
  ];
}

/**
 * The log of page-table writes. It has at least what the counter has: after a kexec the counter is
 * that of the new kernel alone.
 */
function logFailures({ tableWrites: { writes, whole }, pteWrites }: UpdateFacts, what: string): string[] {
  const logged = writes.reduce((sum, { count }) => sum + count, 0);
  return [
    ...unless(logged === 0, `${what}: the log of page-table writes has ${logged} words`),
    ...unless(
      logged >= pteWrites || !whole,
      `${what}: the log of page-table writes has ${logged} of ${pteWrites} words`,
    ),
  ];
}

/** Whether a device must DMA all the time. capture does; edu does only when the guest asks. */
const isCapture = (device: DeviceFacts): boolean => device.name === 'capture';

function deviceFailures(device: DeviceFacts, update: string): string[] {
  const what = `${update}: ${device.name} ${device.bdf}`;
  const faults = unless(device.faults === 0, `${what}: ${device.faults} DMA faults`);
  if (!isCapture(device)) return faults;
  return [
    ...faults,
    ...unless(device.dmaBefore > 0, `${what}: no DMA before the pause`),
    ...unless(device.dmaDuringPause > 0 && device.bytesDuringPause > 0, `${what}: no DMA during the pause`),
    ...unless(device.dmaAfter > 0, `${what}: no DMA after the pause`),
  ];
}

/**
 * A device without IOMMU: its accesses meet the invalid vaddr, sleep, and the device goes on in the
 * new image's memory. Not in each update: it has a job every few milliseconds, and on a busy host
 * it may not run, or a guest may have none for it, for as long as a pause.
 */
function mediatedFailures(updates: readonly UpdateFacts[]): string[] {
  const mediated = updates.flatMap(({ devices }) =>
    devices.filter(({ longestBlockUs }) => longestBlockUs !== undefined),
  );
  return [...new Set(mediated.map(({ bdf }) => bdf))].flatMap((bdf) => {
    const facts = mediated.filter((device) => device.bdf === bdf);
    const what = `${facts[0]!.name} ${bdf}`;
    return [
      ...unless(
        facts.some(({ longestBlockUs = 0 }) => longestBlockUs > 0),
        `${what}: no access slept in a pause`,
      ),
      ...unless(
        facts.some(({ dmaAfter }) => dmaAfter > 0),
        `${what}: no DMA after a pause`,
      ),
    ];
  });
}

function guestFailures(guest: GuestFacts): string[] {
  return [
    ...unless(guest.heartbeats > 0, 'the guest had no heartbeat'),
    ...unless(guest.factorialsOk > 0, 'the guest computed no factorial'),
    ...unless(guest.factorialsBad === 0, `${guest.factorialsBad} factorials were wrong`),
    ...unless(guest.dmaRoundTripsOk > 0, 'the guest made no DMA round trip'),
    ...unless(guest.dmaRoundTripsBad === 0, `${guest.dmaRoundTripsBad} DMA round trips came back wrong`),
    ...unless(guest.framesChecked > 0, 'the guest checked no frame'),
    ...unless(guest.framesLost === 0, `${guest.framesLost} frames were lost`),
    ...unless(guest.framesCorrupt === 0, `${guest.framesCorrupt} frames were corrupt`),
    ...unless(guest.mscribes === 0 || guest.mscribeOk > 0, 'no copy job ended'),
    ...unless(guest.mscribeBad === 0, `${guest.mscribeBad} copy jobs ended wrong`),
    ...unless(guest.interruptsLost === 0, `the guest missed ${guest.interruptsLost} interrupts`),
  ];
}

export function interruptFailures(facts: InterruptFacts | null): string[] {
  if (!facts) return ['interrupts were not counted'];
  const { raised, delivered, lost } = facts;
  return [
    ...unless(raised > 0, 'no interrupt was raised'),
    ...unless(lost === 0 && raised === delivered, `${raised} interrupts raised, ${delivered} delivered`),
  ];
}
