/** Facts about this VMM, in our own words. */
import { hex } from '../../../platform/hex.ts';
import { saveNow } from '../../live-update/save-now.ts';
import type { StandingGuardian } from '../../live-update/standby/standing-guardian.ts';
import { type CommandSpec, command } from '../../monitor/command.ts';
import { arrayOf, enumOf, int, NOTHING, object, type Qapi, str } from '../../monitor/qapi.ts';
import { hashGuestRam } from '../../vm/ram-hash/thread.ts';
import type { Vm } from '../../vm/vm.ts';

const RAM_HASH = object({ size: int, sha256: str });
const INTERRUPTS = object({ devices: arrayOf(object({ bdf: str, delivered: int })) });
/** A state file, in base64 (live-update/state-file.ts). */
const STATE = object({ state: str });
/**
 * Of whoever takes the guest over when this process dies; no `pid`: nobody does now. `waiting` is
 * ready to do so when this image has committed.
 */
const GUARDIAN = object({ mode: enumOf('always', 'update') }, { pid: int, second: int, waiting: int });
const STATS = object({
  generation: int,
  pid: int,
  vaddr: str,
  vcpus: arrayOf(object({ instructions: int, exits: int })),
});

export function factCommands(vm: Vm, standing: StandingGuardian | undefined): Readonly<Record<string, CommandSpec>> {
  return {
    'x-ram-hash': command({ args: NOTHING, returns: RAM_HASH, run: () => ramHash(vm) }),
    'x-interrupts': command({ args: NOTHING, returns: INTERRUPTS, run: () => interrupts(vm) }),
    'x-state': command({ args: NOTHING, returns: STATE, run: () => state(vm) }),
    'x-guardian': command({ args: NOTHING, returns: GUARDIAN, run: () => guardian(standing) }),
    'x-stats': command({ args: NOTHING, returns: STATS, run: () => stats(vm) }),
  };
}

function guardian(standing: StandingGuardian | undefined): Qapi<typeof GUARDIAN> {
  if (!standing) return { mode: 'update' };
  const { pid, second, waiting } = standing;
  return {
    mode: 'always',
    ...(pid === undefined ? {} : { pid }),
    ...(second === undefined ? {} : { second }),
    ...(waiting === undefined ? {} : { waiting }),
  };
}

async function ramHash(vm: Vm): Promise<Qapi<typeof RAM_HASH>> {
  const { buffer, length } = vm.parts.ram;
  return { size: length, sha256: await hashGuestRam({ buffer, length }) };
}

async function state(vm: Vm): Promise<Qapi<typeof STATE>> {
  const file = await saveNow(vm);
  return { state: Buffer.from(file).toString('base64') };
}

/** Interrupts taken from each device's eventfds since power-on. */
function interrupts(vm: Vm): Qapi<typeof INTERRUPTS> {
  const routes = vm.routes.save();
  const devices = (vm.parts.host?.devices ?? []).map(({ description: { bdf } }, i) => {
    const own = routes.filter(({ slot }) => slot === i + 1);
    return { bdf, delivered: own.reduce((sum, { delivered }) => sum + delivered, 0) };
  });
  return { devices };
}

function stats(vm: Vm): Qapi<typeof STATS> {
  const { generation, ram } = vm.parts;
  return { generation, pid: process.pid, vaddr: hex(ram.vaddr), vcpus: [...vm.counters()] };
}
