/** `live-update` and `query-live-update`: updates in our own words. */
import type { LiveUpdate, UpdateTarget } from '../../live-update/update.ts';
import { type CommandSpec, command } from '../../monitor/command.ts';
import { any, arrayOf, bool, enumOf, int, NOTHING, number, object, type Qapi, str } from '../../monitor/qapi.ts';

const TARGET = object(
  {},
  {
    ...{ to: str, node: str, 'allow-loss': arrayOf(str), as: str },
    mode: enumOf('exec', 'transfer'),
    /** Milliseconds. */
    probation: int,
  },
);

function targetOf(args: Qapi<typeof TARGET>): UpdateTarget {
  const { to, node, as, mode, probation, 'allow-loss': allowLoss = [] } = args;
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(probation === undefined ? {} : { probationMs: Number(probation) }),
    ...(to === undefined ? {} : { to }),
    ...(node === undefined ? {} : { node }),
    ...(as === undefined ? {} : { as }),
    allowLoss,
  };
}

/** live-update/cost.ts says what the members mean. */
const COST = object(
  {
    measured: object(
      {
        ...{ turnMs: number, preflightMs: number, snapshot: enumOf('kept', 'made', 'none'), snapshotBytes: int },
        ...{ saveMs: number, steadyStateBytes: int, dmaRanges: int },
      },
      { startMs: number },
    ),
  },
  {
    lastUpdate: any, // as the event LIVE_UPDATE
    estimate: object({ pauseMs: number, from: enumOf('last-update', 'preflight'), without: arrayOf(str) }),
  },
);

/** live-update/preflight-report.ts says what the members mean. */
const FORECAST = object(
  {
    version: str,
    node: str,
    sections: arrayOf(object({ name: str, verdict: enumOf('same', 'converted', 'lost', 'refused') }, { reason: str })),
    checks: arrayOf(object({ what: str, ok: bool }, { reason: str })),
    refusals: arrayOf(str),
    doubts: arrayOf(str),
    cost: COST,
  },
  { standby: int },
);

export function liveUpdateCommands(update: LiveUpdate): Readonly<Record<string, CommandSpec>> {
  return {
    /** Answers when the update may begin. LIVE_UPDATE events tell how it ends. */
    'live-update': command({
      args: TARGET,
      returns: NOTHING,
      run(args) {
        const run = update.begin(targetOf(args));
        setImmediate(() => void run()); // after the answer
        return {};
      },
    }),
    'query-live-update': command({
      args: TARGET,
      returns: FORECAST,
      run: (args) => update.query(targetOf(args)),
    }),
  };
}
