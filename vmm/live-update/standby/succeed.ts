/** A successor's wait: it takes the guest over when the VMM that runs it says so. */
import { monotonicNs } from '../../../platform/clock.ts';
import { hex } from '../../../platform/hex.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import { goOn, handOverMs, restorePhase, settle } from '../go-on.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import type { Phase } from '../survivors.ts';
import type { Standby } from './standby.ts';

/** Waits until it is told to take the guest over, or is dismissed (undefined). */
export async function succeed(standby: Standby): Promise<Resumed | undefined> {
  for (;;) {
    const message = await standby.link.next();
    if (message === 'closed' || message === 'late' || message.kind === 'over') return undefined;
    if (message.kind === 'more') standby.take(message.fds);
    if (message.kind === 'go') return takeOver(standby, message.ns);
  }
}

async function takeOver(standby: Standby, sentNs: number): Promise<Resumed> {
  const { image, link } = standby;
  const received = monotonicNs();
  const restorables = standby.restorables();
  const restoredAt = (phase: Phase): number => restorePhase(image, restorables, phase, { prepared: true });
  const mapped = restoredAt('map');
  const remapped = restoredAt('remap');
  restoredAt('load');
  const going = await goOn(image);
  const { loaded, running } = going;
  const { vm, monitor, update, vaddrOld } = image;
  const { stamps } = update;
  const ms = (from: number, to: number): number => roundedMs(Math.max(0, to - from));
  const pause: JsonObject = {
    status: 'completed',
    mode: 'transfer',
    generation: vm.parts.generation,
    pid: process.pid,
    vaddrOld: hex(vaddrOld),
    vaddrNew: hex(vm.parts.ram.vaddr),
    pauseMs: roundedMs(running - stamps.begin),
    phasesMs: {
      stop: ms(stamps.begin, stamps.stop),
      invalidate: ms(stamps.stop, stamps.invalidate),
      save: ms(stamps.invalidate, sentNs),
      transfer: ms(sentNs, received),
      map: ms(received, mapped),
      remap: ms(mapped, remapped),
      load: ms(remapped, loaded),
      resume: ms(loaded, running),
    },
    pauseStartNs: stamps.begin,
    pauseEndNs: running,
  };
  link.send({ kind: 'running' });
  const report = settle(going).then((handOver) => ({ ...pause, handover: handOverMs(handOver, running) }));
  return { vm, monitor, migration: image.update.migration, report, isOther: true };
}
