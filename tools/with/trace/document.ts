/** A JSON document for each of the program's VFIO calls. */
import { errnoName } from '../../../platform/errno.ts';
import type { CallName } from '../filter/call-numbers.ts';
import { isVfioCall, type OverCall, reasonsOf, saidOf } from './trace.ts';

export interface TraceDocument {
  readonly tid: number;
  /** As in the lines for people. */
  readonly call: string;
  /** The result of the call, ≥ 0, or −errno. */
  readonly result: number;
  /** Of an error. */
  readonly errno?: string;
  /** The rules of docs/rules/vfio.md that give this error. */
  readonly rules?: string;
  /** The kernel's words. */
  readonly reason?: string;
  readonly microseconds: number;
}

/** Undefined for a call that was none of VFIO's. */
export function traceDocument(name: CallName, over: OverCall): TraceDocument | undefined {
  if (!isVfioCall(over)) return undefined;
  const { tid, result, notes } = over;
  const said = saidOf(name, notes);
  const { rules, message } = result < 0 ? reasonsOf(result, notes, said) : {};
  return {
    ...{ tid, call: said.text, result },
    ...(result < 0 ? { errno: errnoName(-result) } : {}),
    ...(rules === undefined ? {} : { rules }),
    ...(message === undefined ? {} : { reason: message }),
    microseconds: Math.round(over.microseconds),
  };
}
