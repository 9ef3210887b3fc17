/**
 * `-icount shift=N,sleep=on,rr=record,rrfile=FILE`, as QEMU spells it (qemu-options.hx). Errors are
 * EINVAL with one line for the user.
 */
import { Properties } from '../../devices/backends/properties.ts';
import type { IcountPlan } from '../machine/shared/icount.ts';
import type { VmOptions } from './vm-state.ts';

const OPTION = '-icount';
/** QEMU's limit: an instruction takes 1 to 1024 ns. */
const MOST_SHIFT = 10;

type Icount = { readonly icount?: VmOptions['icount'] | undefined };

/** The guest is recorded into a file, or replayed from it. */
export interface RecordingPlan {
  readonly mode: 'record' | 'replay';
  readonly path: string;
}

/** Undefined: guest time follows real time. */
export function planIcount({ icount }: Icount): IcountPlan | undefined {
  if (icount === undefined) return undefined;
  const { shift, sleep } = parse(icount);
  return { shift, sleep };
}

/** Undefined: the guest is neither recorded nor replayed. */
export function planRecording({ icount }: Icount): RecordingPlan | undefined {
  return icount === undefined ? undefined : parse(icount).recording;
}

function parse(icount: string): IcountPlan & { readonly recording: RecordingPlan | undefined } {
  // the word `shift=` can be left out
  const values = new Properties(OPTION, icount.replace(/^(?=[^=,]+(,|$))/, 'shift='), { typed: false });
  const shift = values.need('shift', `N, 0 to ${MOST_SHIFT}: an instruction takes 2^N ns`);
  if (shift === 'auto')
    throw values.error('shift=auto would follow the speed of this machine: no run would be as another');
  if (!/^\d{1,2}$/.test(shift) || Number(shift) > MOST_SHIFT) {
    throw values.error(`give shift=N, 0 to ${MOST_SHIFT}: an instruction takes 2^N ns`);
  }
  const sleep = values.isOn('sleep', true);
  values.choice('align', ['off']);
  const recording = recordingIn(values);
  values.end();
  return { shift: Number(shift), sleep, recording };
}

function recordingIn(values: Properties): RecordingPlan | undefined {
  const mode = values.choice('rr', ['record', 'replay']);
  if (mode === undefined) return undefined;
  const path = values.need('rrfile', 'FILE: what is recorded goes there');
  if (values.take('rrsnapshot') !== undefined) {
    throw values.error('rrsnapshot= is not there: a recording begins at power-on, and so does a replay');
  }
  return { mode, path };
}
