/**
 * The successor's answer to the question whether it could take a guest over. It is one JSON
 * document.
 */
import { flag, integer, list, number, object, oneOf, type Shaped, text } from '../../platform/shape.ts';
import type { Offer } from './manifest.ts';

const SECTION_VERDICT = object(
  {
    name: text,
    /**
     * same: the section is taken as it is. converted: it is taken, and one of the builds converts
     * it from or to an earlier version. lost: the successor does not know it. refused: it cannot be
     * taken.
     */
    verdict: oneOf('same', 'converted', 'lost', 'refused'),
  },
  { reason: text },
);

const CHECK = object({ what: text, ok: flag }, { reason: text });

export const PREFLIGHT_REPORT = object(
  {
    /** Version of the successor's build, and of the node that runs the build. */
    version: text,
    node: text,
    sections: list(SECTION_VERDICT),
    /** Checks of what the successor needs beside the sections. */
    checks: list(CHECK),
  },
  {
    /** The words that the build knows of those that stand by (standby/protocol.ts). */
    standby: integer,
    /** CLOCK_MONOTONIC when the first line of the successor's program ran. */
    firstLineNs: number,
  },
);

export type SectionVerdict = Shaped<typeof SECTION_VERDICT>;
export type Check = Shaped<typeof CHECK>;
export type PreflightReport = Shaped<typeof PREFLIGHT_REPORT>;

/**
 * The report with what only the old image knows: the sections that it converts, or cannot write as
 * it was asked to.
 */
export function withOffers(report: PreflightReport, offers: readonly Offer[]): PreflightReport {
  const offered = new Map(offers.map((offer) => [offer.name, offer]));
  const sections = report.sections.map((judged): SectionVerdict => {
    const offer = offered.get(judged.name);
    if (offer?.refusal !== undefined) return { ...judged, verdict: 'refused', reason: offer.refusal };
    if (!offer?.converted || judged.verdict !== 'same') return judged;
    return { ...judged, verdict: 'converted', reason: `is written as version ${offer.version}` };
  });
  return { ...report, sections };
}

/**
 * Every reason why the guest cannot be handed over: none if it can. `allowLoss` names sections that
 * may be lost.
 */
export function refusals({ sections, checks }: PreflightReport, allowLoss: readonly string[]): string[] {
  const bad = sections.filter(
    ({ name, verdict }) => verdict === 'refused' || (verdict === 'lost' && !allowLoss.includes(name)),
  );
  return [
    ...bad.map(({ name, reason }) => reason ?? `section ${name} would be lost`),
    ...checks.filter(({ ok }) => !ok).map(({ what, reason }) => `${what}: ${reason ?? 'not usable'}`),
  ];
}
