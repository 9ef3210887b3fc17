/**
 * The demo's report: one self-contained HTML file. Throughput of each device over the whole run,
 * then each pause close up.
 */
import type { RunDocument } from './document.ts';
import type { UpdateFacts } from './facts.ts';
import { REPORT_STYLE } from './report-style.ts';
import { allWrites } from './table-writes.ts';
import { BUCKET_NS, bucketsWithin, type DeviceSeries, formatRate, rates } from './throughput.ts';

const WIDTH = 1120;
const LEFT = 150;
const RIGHT = 20;
const PLOT = WIDTH - LEFT - RIGHT;
const LANE = 74;
const LANE_GAP = 18;
const TOP = 26;
const AXIS = 30;
/** Bin of the overview. */
const BIN_NS = 20e6;

const escapeHtml = (text: unknown): string => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const fixed = (value: number): string => value.toFixed(1);

/** A step of 1, 2 or 5 times a power of ten that cuts `span` in at most `most` pieces. */
function niceStep(span: number, most: number): number {
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= raw) ?? raw;
}

/** An x axis under `height`, with labels every nice step; `toX` maps a value to pixels. */
function axis(from: number, to: number, unit: string, height: number, toX: (value: number) => number): string {
  const step = niceStep(to - from, 12);
  const ticks: string[] = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step / 1e6; value += step) {
    const x = fixed(toX(value));
    ticks.push(
      `<line class="grid" x1="${x}" x2="${x}" y1="${TOP}" y2="${height}"/>`,
      `<text class="tick" x="${x}" y="${height + 16}" text-anchor="middle">${Number(value.toPrecision(6))} ${unit}</text>`,
    );
  }
  return ticks.join('');
}

function laneLabel(series: DeviceSeries, y: number, detail: string): string {
  return `<text class="label" x="0" y="${y + 20}">${escapeHtml(series.name)}</text>
<text class="tick" x="0" y="${y + 36}">${escapeHtml(series.bdf)}</text><text class="tick" x="0" y="${y + 52}">${escapeHtml(detail)}</text>`;
}

function overview(updates: readonly UpdateFacts[], devices: readonly DeviceSeries[]): string {
  const starts = devices.flatMap(({ buckets }) => (buckets.length > 0 ? [buckets[0]!.startNs] : []));
  const ends = devices.flatMap(({ buckets }) => (buckets.length > 0 ? [buckets.at(-1)!.startNs + BUCKET_NS] : []));
  const from = Math.min(...starts, ...updates.map(({ pauseStartNs }) => pauseStartNs));
  const to = Math.max(...ends, ...updates.map(({ pauseEndNs }) => pauseEndNs));
  if (!Number.isFinite(from)) return '<p>No DMA was observed.</p>';
  const toX = (ns: number): number => LEFT + ((ns - from) / (to - from)) * PLOT;
  const height = TOP + devices.length * (LANE + LANE_GAP);
  const lanes = devices.map((series, index) => {
    const y = TOP + index * (LANE + LANE_GAP);
    const bins = rates(series, from, to, BIN_NS);
    const peak = Math.max(1, ...bins);
    const points = bins.map(
      (rate, i) => `${fixed(toX(from + (i + 0.5) * BIN_NS))},${fixed(y + LANE - (rate / peak) * LANE)}`,
    );
    return `${laneLabel(series, y, `peak ${formatRate(peak)}`)}
<polygon class="area" points="${fixed(toX(from))},${y + LANE} ${points.join(' ')} ${fixed(toX(to))},${y + LANE}"/>
<line class="base" x1="${LEFT}" x2="${LEFT + PLOT}" y1="${y + LANE}" y2="${y + LANE}"/>`;
  });
  const bands = updates.map((update, index) => {
    const x = toX(update.pauseStartNs);
    const width = Math.max(1.5, toX(update.pauseEndNs) - x);
    return `<rect class="band" x="${fixed(x)}" y="${TOP}" width="${fixed(width)}" height="${height - TOP}">
<title>update ${index + 1}: pause ${fixed(update.pauseMs)} ms</title></rect>
<text class="bandlabel" x="${fixed(x + width / 2)}" y="${TOP - 8}" text-anchor="middle">${index + 1}</text>`;
  });
  const seconds = axis(0, (to - from) / 1e9, 's', height, (s) => toX(from + s * 1e9));
  return svg(height + AXIS, [seconds, ...bands, ...lanes]);
}

/**
 * One pause with as much time before and after it: DMA bytes per millisecond, the phases above on
 * the same time axis.
 */
function closeUp(update: UpdateFacts, index: number, devices: readonly DeviceSeries[]): string {
  const { pauseStartNs, pauseEndNs, pauseMs } = update;
  const span = pauseEndNs - pauseStartNs;
  const from = pauseStartNs - span;
  const to = pauseEndNs + span;
  const toX = (ns: number): number => LEFT + ((ns - from) / (to - from)) * PLOT;
  const laneHeight = 40;
  const first = TOP + 30;
  const height = first + devices.length * (laneHeight + 12);
  let at = pauseStartNs;
  const phases = Object.entries(update.phasesMs).map(([phase, ms]) => {
    const x = toX(at);
    at += ms * 1e6;
    return `<rect class="phase phase-${escapeHtml(phase)}" x="${fixed(x)}" y="${TOP}" width="${fixed(Math.max(0.5, toX(at) - x))}" height="18">
<title>${escapeHtml(phase)} ${ms.toFixed(2)} ms</title></rect>`;
  });
  const lanes = devices.map((series, lane) => {
    const y = first + lane * (laneHeight + 12);
    const buckets = bucketsWithin(series, from, to);
    const peak = Math.max(1, ...buckets.map(({ bytes }) => bytes));
    const width = Math.max(0.8, toX(from + BUCKET_NS) - toX(from) - 0.3);
    const bars = buckets.map(({ startNs, bytes }) => {
      const size = Math.max(1, (bytes / peak) * laneHeight);
      return `<rect class="bar" x="${fixed(toX(startNs))}" y="${fixed(y + laneHeight - size)}" width="${fixed(width)}" height="${fixed(size)}"/>`;
    });
    const facts = update.devices.find(({ bdf }) => bdf === series.bdf);
    const label = `${series.name} ${series.bdf.slice(5)}`;
    return `<text class="label" x="0" y="${y + 16}">${escapeHtml(label)}</text>
<text class="tick" x="0" y="${y + 32}">${facts?.dmaDuringPause ?? 0} DMAs in the pause</text>${bars.join('')}
<line class="base" x1="${LEFT}" x2="${LEFT + PLOT}" y1="${y + laneHeight}" y2="${y + laneHeight}"/>`;
  });
  const band = `<rect class="band" x="${fixed(toX(pauseStartNs))}" y="${TOP}" width="${fixed(toX(pauseEndNs) - toX(pauseStartNs))}" height="${height - TOP}"/>`;
  const ms = axis(-pauseMs, 2 * pauseMs, 'ms', height, (value) => toX(pauseStartNs + value * 1e6));
  return `<h3>Update ${index + 1} <span>generation ${update.generation}, pid ${update.pid}, ${escapeHtml(update.vaddrOld)} → ${escapeHtml(update.vaddrNew)}, pause ${fixed(pauseMs)} ms</span></h3>
${svg(height + AXIS, [ms, band, ...phases, ...lanes])}`;
}

const svg = (height: number, parts: readonly string[]): string =>
  `<svg viewBox="0 0 ${WIDTH} ${height}" role="img">${parts.join('\n')}</svg>`;

function phaseTable(updates: readonly UpdateFacts[]): string {
  const phases = Object.keys(updates[0]?.phasesMs ?? {});
  const head = phases.map((p) => `<th><i class="key phase-${escapeHtml(p)}"></i>${escapeHtml(p)}</th>`).join('');
  const rows = updates.map((update, index) => {
    const cells = phases.map((phase) => `<td>${(update.phasesMs[phase] ?? 0).toFixed(2)}</td>`).join('');
    return `<tr><th>${index + 1}</th><td><b>${update.pauseMs.toFixed(1)}</b></td>${cells}</tr>`;
  });
  return `<table><tr><th>update</th><th>pause ms</th>${head}</tr>${rows.join('')}</table>`;
}

function gapTable(updates: readonly UpdateFacts[]): string {
  const rows = updates.flatMap((update, index) =>
    update.devices.map(
      (
        d,
      ) => `<tr><th>${index + 1}</th><td>${escapeHtml(`${d.name} ${d.bdf}`)}</td><td>${d.dmaBefore}</td><td>${d.dmaDuringPause}</td>
<td>${d.dmaAfter}</td><td>${d.bytesDuringPause}</td><td>${d.maxGapUsBefore}</td><td>${d.maxGapUsDuringPause}</td><td>${d.faults}</td>
<td>${d.longestBlockUs ?? '–'}</td></tr>`,
    ),
  );
  return `<table><tr><th>update</th><th>device</th><th>DMAs before</th><th>in the pause</th><th>after</th><th>bytes in the pause</th>
<th>longest gap before, µs</th><th>in the pause, µs</th><th>faults</th><th>longest block, µs</th></tr>${rows.join('')}</table>`;
}

/** The log of page-table writes during the updates. */
function writeTable(updates: readonly UpdateFacts[]): string {
  const writes = allWrites(updates);
  if (writes.length === 0) return '<p>Empty: no entry was written.</p>';
  const rows = writes.map(({ update, write: { timeNs, iova, level, count, before, after, pid, kernel } }) => {
    const ms = (timeNs - updates[update - 1]!.pauseStartNs) / 1e6;
    const cells = [fixed(ms), iova, level, count, before, after, pid ?? 'none', kernel];
    return `<tr><th>${update}</th>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  return `<table><tr><th>update</th><th>ms since the pause began</th><th>iova</th><th>level</th><th>entries</th><th>first one before</th>
<th>after</th><th>in a call of process</th><th>kernel</th></tr>${rows.join('')}</table>`;
}

/** A number on the page, and what it is; undefined: unknown. */
export type Tile = readonly [string, string | number | undefined];

const tile = ([name, value]: Tile): string => `<div><b>${escapeHtml(value ?? '–')}</b>${escapeHtml(name)}</div>`;

/** `guests`: what the guests have counted. */
export function renderReport(
  document: RunDocument<unknown>,
  guests: readonly Tile[],
  devices: readonly DeviceSeries[],
): string {
  const { interrupts, pteWritesDuringUpdates, ramHashMatches } = document;
  const tiles: readonly Tile[] = [
    ...guests,
    ['interrupts raised', interrupts?.raised],
    ['interrupts lost', interrupts?.lost],
    ['PTE writes in updates', pteWritesDuringUpdates],
    ['RAM hashes', ramHashMatches === null ? undefined : ramHashMatches ? 'agree' : 'differ'],
  ];
  const { verdict, failures, updates, node, livevmm } = document;
  const json = JSON.stringify(document, undefined, 1).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>livevmm demo: ${verdict}</title><style>${REPORT_STYLE}</style></head><body>
<h1><span class="${verdict}">${verdict}</span> ${updates.length} live updates under DMA</h1>
<p>livevmm ${escapeHtml(livevmm)}, node ${escapeHtml(node)}, VMM pid ${document.pid}. The guest is paused in the shaded bands; the devices are not.</p>
${failures.length > 0 ? `<ul class="failures">${failures.map((f) => `<li>${escapeHtml(f)}</li>`).join('')}</ul>` : ''}
<div class="tiles">${tiles.map(tile).join('')}</div>
<h2>DMA throughput per device</h2>
${overview(updates, devices)}
<h2>Pauses, by phase (ms)</h2>
${phaseTable(updates)}
<h2>Each pause close up</h2>
<p>Bytes DMAed in each millisecond, with as much time before and after the pause. On top: the phases, coloured as in the table.</p>
${updates.map((update, index) => closeUp(update, index, devices)).join('\n')}
<h2>DMA around the pauses</h2>
<p>"Before" and "after" are windows as long as the pause. A block is an access of a device without IOMMU that sleeps until its memory is mapped again.</p>
${gapTable(updates)}
<h2>Log of page-table writes during the updates</h2>
${writeTable(updates)}
<script type="application/json" id="facts">${json}</script>
</body></html>
`;
}
