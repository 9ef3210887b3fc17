/** What an update would cost, for people: each figure with how it is known. */
import { formatTable } from '../cli/table.ts';
import type { UpdateCost } from '../clients/live-update.ts';

type Row = readonly [string, string, string];

const ms = (value: number): string => `${value.toFixed(1)} ms`;

export function describeCost({ measured, lastUpdate, estimate }: UpdateCost): string {
  const rows: readonly Row[] = [
    ...measuredRows(measured),
    ...(lastUpdate ? lastRows(lastUpdate) : []),
    estimate ? estimateRow(estimate) : (['pause', 'unknown', 'nothing was measured'] as const),
  ];
  return formatTable(['cost', 'value', 'how it is known'], rows);
}

const SNAPSHOT = { kept: 'from the cache', made: 'made for this', none: 'not to be had' } as const;

function measuredRows(measured: UpdateCost['measured']): readonly Row[] {
  const { turnMs, preflightMs, snapshot, snapshotBytes, startMs, saveMs, steadyStateBytes, dmaRanges } = measured;
  const how = 'measured beside the running guest';
  return [
    ['turn among other VMMs', ms(turnMs), 'measured'],
    ['preflight', ms(preflightMs), `${how}; snapshot ${SNAPSHOT[snapshot]}`],
    ['snapshot', `${(snapshotBytes / 1e6).toFixed(1)} MB`, 'measured'],
    ...(startMs === undefined
      ? []
      : [['start of the new image', ms(startMs), `${how}, up to its first line`] as const]),
    ['saving', ms(saveMs), `measured, of ${steadyStateBytes} bytes that can be saved while the guest runs`],
    ['ranges of DMA', String(dmaRanges), 'counted'],
  ];
}

function lastRows({ pauseMs, phasesMs, takeback, handover }: NonNullable<UpdateCost['lastUpdate']>): readonly Row[] {
  const phases = Object.entries(phasesMs).map(([phase, took]) => `${phase} ${took.toFixed(1)}`);
  const gap = (what: string, of: { readonly gapMs: number } | undefined): readonly Row[] =>
    of ? [[what, ms(of.gapMs), 'the last update']] : [];
  return [
    ...gap('take-back, before the pause', takeback),
    ['pause of the last update', ms(pauseMs), phases.join(', ')],
    ...gap('hand-over, after the pause', handover),
  ];
}

function estimateRow({ pauseMs, from, without }: NonNullable<UpdateCost['estimate']>): Row {
  return [
    'pause of this update',
    `about ${pauseMs.toFixed(0)} ms`,
    from === 'last-update'
      ? 'estimated: as the last update'
      : `estimated: start and saving; without ${without.join(', ')}, which nothing has measured`,
  ];
}
