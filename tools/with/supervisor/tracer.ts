/** Tells of the program's VFIO calls: as lines for people, as JSON, or as a recording. */
import { writeSync } from 'node:fs';

import { type CallName, thisArchitecture } from '../filter/call-numbers.ts';
import { Recorder } from '../record/recorder.ts';
import { traceDocument } from '../trace/document.ts';
import { traceLine } from '../trace/trace.ts';
import type { TraceOutput } from './protocol.ts';
import type { Trace, TracedCall } from './supervisor.ts';

export interface Tracer {
  readonly over: Trace;
  /** The last process of the program has ended. */
  readonly end: () => void;
}

const names = new Map(Object.entries(thisArchitecture?.numbers ?? {}).map(([name, nr]) => [nr, name as CallName]));
const nameOf = ({ nr }: TracedCall): CallName => names.get(nr)!;

/**
 * If the output fails, `say` is told once why, and nothing more is written. The program goes on.
 */
export function tracerTo(output: TraceOutput, say: (line: string) => void): Tracer {
  let failed = false;
  const guarded = (work: () => void): void => {
    if (failed) return;
    try {
      work();
    } catch (error) {
      failed = true;
      say(`the trace ends here: ${(error as Error).message}`);
    }
  };
  const { over, end } = plainTracer(output);
  return { over: (call) => guarded(() => over(call)), end: () => guarded(end) };
}

function plainTracer({ fd, form, program }: TraceOutput): Tracer {
  const write = (line: string): void => void writeSync(fd, `${line}\n`);
  if (form === 'recording') {
    const recorder = new Recorder(program, write);
    return { over: (call) => recorder.over(call), end: () => recorder.end() };
  }
  const lineOf =
    form === 'text'
      ? (call: TracedCall) => traceLine(nameOf(call), call)
      : (call: TracedCall) => {
          const document = traceDocument(nameOf(call), call);
          return document && JSON.stringify(document);
        };
  const over = (call: TracedCall): void => {
    const line = lineOf(call);
    if (line !== undefined) write(line);
  };
  return { over, end: () => undefined };
}
