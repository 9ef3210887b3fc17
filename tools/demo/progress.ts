/**
 * The demo for human eyes: a status line while it runs (on a terminal), a line per update, a
 * summary.
 */
import { styleText } from 'node:util';

import { monotonicNs } from '../../platform/clock.ts';
import { StatusLine } from '../cli/status-line.ts';
import type { Machine } from '../launch/machine.ts';
import type { DemoDocument } from './document.ts';
import type { DeviceFacts, UpdateFacts } from './facts.ts';
import type { Observer } from './observer.ts';
import type { Tile } from './report.ts';
import type { SessionEvents } from './session.ts';
import { describeWrites } from './table-writes.ts';
import { formatRate, rates } from './throughput.ts';

/** Window over which the rates of the status line are averaged. */
const RATE_NS = 500e6;

const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
  process.stdout.isTTY ? styleText(style, text) : text;

export class LiveProgress implements SessionEvents {
  readonly #wanted: boolean;
  readonly #line: StatusLine;
  #machine: Pick<Machine, 'vmm'> | undefined;
  #observer: Observer | undefined;
  #step = '';
  #last: UpdateFacts | undefined;

  constructor(wanted: boolean) {
    this.#wanted = wanted;
    this.#line = new StatusLine(wanted);
    this.#line.show('starting host and VMM');
  }

  watch(machine: Pick<Machine, 'vmm'>, observer: Observer): void {
    this.#machine = machine;
    this.#observer = observer;
  }

  step(text: string): void {
    this.#step = text;
    this.refresh();
  }

  updated(update: UpdateFacts): void {
    this.#last = update;
    this.#print(describeUpdate(update));
    this.refresh();
  }

  refresh(): void {
    if (!this.#line.visible || !this.#machine || !this.#observer) return;
    const now = monotonicNs();
    const dma = this.#observer.series.map((series) => {
      const [rate = 0] = rates(series, now - 2 * RATE_NS, now - RATE_NS, RATE_NS);
      return `${series.name} ${series.bdf.slice(8)} ${formatRate(rate)}`;
    });
    const vaddr = this.#last ? ` · RAM at ${this.#last.vaddrNew}` : '';
    const generation = this.#last?.generation ?? 0;
    this.#line.show(`pid ${this.#machine.vmm.pid} gen ${generation}${vaddr} · ${dma.join(' · ')} · ${this.#step}`);
  }

  done(): void {
    this.#line.clear();
  }

  #print(text: string): void {
    if (!this.#wanted) return;
    this.#line.clear();
    process.stdout.write(text);
  }
}

const ms = (value: number): string => value.toFixed(1);

function describeDevice({
  name,
  bdf,
  dmaDuringPause,
  bytesDuringPause,
  maxGapUsDuringPause,
  maxGapUsBefore,
  longestBlockUs,
}: DeviceFacts): string {
  if (longestBlockUs !== undefined) {
    return `    ${name.padEnd(8)}${bdf}  no IOMMU: an access slept ${ms(longestBlockUs / 1000)} ms, until its memory was mapped again\n`;
  }
  const gap = `longest gap ${ms(maxGapUsDuringPause / 1000)} ms (${ms(maxGapUsBefore / 1000)} before)`;
  return `    ${name.padEnd(8)}${bdf}  ${dmaDuringPause} DMAs, ${bytesDuringPause} bytes in the pause, ${gap}\n`;
}

/** Devices that do DMA only when the guest asks, or none at all. */
const QUIET: readonly string[] = ['edu', 'ivshmem-plain'];

function describeUpdate(update: UpdateFacts): string {
  const { generation, pid, vaddrOld, vaddrNew, pauseMs, phasesMs, devices } = update;
  const phases = Object.entries(phasesMs).map(([phase, value]) => `${phase} ${ms(value)}`);
  return `update ${generation}: pid ${pid}, RAM ${vaddrOld} → ${vaddrNew}, pause ${paint('bold', `${ms(pauseMs)} ms`)}
    ${phases.join(', ')}
${devices
  .filter(({ name }) => !QUIET.includes(name))
  .map(describeDevice)
  .join('')}`;
}

export const guestTiles = ({ guest }: DemoDocument): Tile[] => [
  ['frames checked', guest?.framesChecked],
  ['frames lost', guest?.framesLost],
  ['frames corrupt', guest?.framesCorrupt],
  ['factorials', guest?.factorialsOk],
  ['DMA round trips', guest?.dmaRoundTripsOk],
  ['copy jobs', guest?.mscribes === 0 ? undefined : guest?.mscribeOk],
];

export function describeDocument(document: DemoDocument): string {
  const { verdict, failures, guest, interrupts, pteWritesDuringUpdates, ramHashMatches, updates } = document;
  const lines: string[] = [];
  if (guest) {
    const { heartbeats, framesChecked, framesLost, framesCorrupt, factorialsOk, dmaRoundTripsOk } = guest;
    const copies = guest.mscribes > 0 ? `, ${guest.mscribeOk} copy jobs` : '';
    lines.push(
      `guest: ${heartbeats} heartbeats, ${framesChecked} frames checked, ${framesLost} lost, ${framesCorrupt} corrupt, ` +
        `${factorialsOk} factorials, ${dmaRoundTripsOk} DMA round trips${copies}`,
    );
  }
  if (interrupts) {
    const { raised, delivered, lost } = interrupts;
    lines.push(`interrupts: ${raised} raised, ${delivered} delivered, ${lost} lost`);
  }
  lines.push(`page-table words written during updates: ${pteWritesDuringUpdates}`, ...describeWrites(updates));
  if (ramHashMatches !== null)
    lines.push(`guest RAM, VMM's mapping and board's: ${ramHashMatches ? 'same' : 'DIFFERENT'}`);
  lines.push(...failures.map((failure) => `- ${failure}`));
  const colour = verdict === 'pass' ? 'green' : 'red';
  lines.push(`${paint(['bold', colour], verdict)}: ${updates.length} ${updates.length === 1 ? 'update' : 'updates'}`);
  return `${lines.join('\n')}\n`;
}
