/**
 * `livevmm bench`: the speed this project promises, measured as ratios of things measured in the
 * same run.
 */
import { cpus } from 'node:os';
import { setImmediate as nextRound } from 'node:timers/promises';
import { VERSION } from '../../platform/version.ts';
import { benchAtOnce } from '../bench/at-once.ts';
import { benchCalls } from '../bench/calls.ts';
import { benchCpr } from '../bench/cpr.ts';
import { benchDirty } from '../bench/dirty.ts';
import { benchDma } from '../bench/dma.ts';
import { benchDriver } from '../bench/driver.ts';
import { benchFloor } from '../bench/floor.ts';
import { benchGuardian } from '../bench/guardian.ts';
import { benchGuest } from '../bench/guest.ts';
import { benchIdle } from '../bench/idle.ts';
import { benchKexec } from '../bench/kexec.ts';
import { benchLinux } from '../bench/linux.ts';
import { benchMap } from '../bench/map.ts';
import { benchMediated } from '../bench/mediated.ts';
import { benchMsi } from '../bench/msi.ts';
import { benchP2p } from '../bench/p2p.ts';
import { benchPreflight } from '../bench/preflight.ts';
import { type Benchmark, type Figure, holds } from '../bench/result.ts';
import { benchRollback } from '../bench/rollback.ts';
import { benchStart } from '../bench/start.ts';
import { benchTransfer } from '../bench/transfer.ts';
import { benchUpdate } from '../bench/update.ts';
import { benchVaddr } from '../bench/vaddr.ts';
import { benchWarm } from '../bench/warm.ts';
import { benchWith } from '../bench/with.ts';
import { type Command, CommandError, oneOf, parseOptions } from '../cli/command.ts';
import { type EndingSignal, onEndingSignal } from '../cli/signals.ts';
import { StatusLine } from '../cli/status-line.ts';
import { formatTable } from '../cli/table.ts';

const PARTS: Readonly<Record<string, Benchmark>> = {
  dma: benchDma,
  p2p: benchP2p,
  calls: benchCalls,
  driver: benchDriver,
  map: benchMap,
  vaddr: benchVaddr,
  dirty: benchDirty,
  mediated: benchMediated,
  msi: benchMsi,
  guest: benchGuest,
  linux: benchLinux,
  idle: benchIdle,
  floor: benchFloor,
  update: benchUpdate,
  warm: benchWarm,
  transfer: benchTransfer,
  cpr: benchCpr,
  kexec: benchKexec,
  'at-once': benchAtOnce,
  preflight: benchPreflight,
  rollback: benchRollback,
  start: benchStart,
  with: benchWith,
  guardian: benchGuardian,
};

const PART_NAMES = Object.keys(PARTS);

const HELP = `Usage: livevmm bench [--only PART]... [--json]

Measures translated DMA against plain copies, and to other devices; calls into the kernel; what a guest's driver waits for; MAP_DMA, UNMAP_DMA, GET_BITMAP and the service for mediated
devices through a real socket; MSIs against write(2); the guest's CPU against QEMU's, and a Linux (LIVEVMM_DEBIAN) from its start to its shell, and at rest there; what an idle machine costs; each step of the way to a new image; the pause of live updates against a bare execve of the same node, and of
eight VMMs at once against each alone; how long a guest is slower after one; and against QEMU's cpr-exec and cpr-transfer; the pause of a kexec; what a preflight costs the guest, and a guardian that always stands by; the way back
from a new image that dies, and from a VMM that is killed; starts; and system calls under livevmm with. Read ratios, not absolute
figures. Takes some fifteen minutes on a machine that has nothing else to do.

  --only PART   ${PART_NAMES.join(', ')}; may be repeated
  --json        print one JSON document
`;

const significant = (value: number): string =>
  value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();

function row(figure: Figure): string[] {
  const { what, value, unit, atLeast, atMost } = figure;
  const promise = atLeast !== undefined ? `≥ ${atLeast}` : atMost !== undefined ? `≤ ${atMost}` : '';
  const kept = holds(figure);
  return [what, significant(value), unit, promise, kept === undefined ? '' : kept ? 'yes' : 'NO'];
}

export const bench: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      only: { type: 'string', multiple: true, default: PART_NAMES },
      json: { type: 'boolean', default: false },
    });
    const parts = options.only.map((part) => oneOf('only', part, PART_NAMES));
    const line = new StatusLine();
    const figures: Figure[] = [];
    let asked: EndingSignal | undefined;
    const stopListening = onEndingSignal((signal) => {
      asked = signal;
    });
    try {
      for (const part of parts) {
        const progress = async (text: string): Promise<void> => {
          line.show(`${part}: ${text}`);
          await nextRound(); // what is measured blocks this thread: signals come in here
          if (asked) throw new CommandError(`stopped by ${asked}`);
        };
        figures.push(...(await PARTS[part]!(progress)));
      }
    } finally {
      line.clear();
      stopListening();
    }
    if (options.json) {
      const all = figures.map((figure) => ({ ...figure, holds: holds(figure) }));
      const machine = { livevmm: VERSION, node: process.version, cpus: cpus().length };
      process.stdout.write(`${JSON.stringify({ ...machine, figures: all }, undefined, 2)}\n`);
    } else {
      process.stdout.write(formatTable(['figure', 'value', 'unit', 'promise', 'kept'], figures.map(row)));
    }
    return 0;
  },
};
