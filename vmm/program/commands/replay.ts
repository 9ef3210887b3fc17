/** What QEMU's monitor tells of a recording. */
import { type CommandSpec, command } from '../../monitor/command.ts';
import { enumOf, int, NOTHING, object, type Qapi, str } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';

/** QEMU's ReplayMode, and its ReplayInfo. */
const MODE = enumOf('none', 'record', 'play');
const REPLAY = object({ mode: MODE, icount: int }, { filename: str });

export const replayCommands = (vm: Vm): Readonly<Record<string, CommandSpec>> => ({
  'query-replay': command({ args: NOTHING, returns: REPLAY, run: () => replay(vm) }),
});

function replay({ parts, icount }: Vm): Qapi<typeof REPLAY> {
  const { recording } = parts.backends;
  if (!recording) return { mode: 'none', icount };
  return { mode: recording.mode === 'replay' ? 'play' : 'record', filename: recording.path, icount };
}
