/** `live-update` and `query-live-update`: updates in our own words. */
import type { LiveUpdate, UpdateTarget } from '../../live-update/update.ts';
import { type CommandSpec, command } from '../../monitor/command.ts';
import { arrayOf, bool, enumOf, int, NOTHING, object, type Qapi, str } from '../../monitor/qapi.ts';

const TARGET = object({}, { to: str, node: str, 'allow-loss': arrayOf(str), as: str });

function targetOf({ to, node, as, 'allow-loss': allowLoss = [] }: Qapi<typeof TARGET>): UpdateTarget {
  return {
    ...(to === undefined ? {} : { to }),
    ...(node === undefined ? {} : { node }),
    ...(as === undefined ? {} : { as }),
    allowLoss,
  };
}

/** live-update/preflight-report.ts says what the members mean. */
const FORECAST = object(
  {
    version: str,
    node: str,
    sections: arrayOf(object({ name: str, verdict: enumOf('same', 'converted', 'lost', 'refused') }, { reason: str })),
    checks: arrayOf(object({ what: str, ok: bool }, { reason: str })),
    refusals: arrayOf(str),
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
