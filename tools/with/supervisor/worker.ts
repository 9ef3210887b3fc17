/**
 * The thread of a supervisor. It ends when nobody is left who has the filter. It also asks the host
 * for its machine: a private host answers from the thread that has started this one.
 */
import { writeSync } from 'node:fs';

import { O_PATH, open } from '../../../platform/libc/fd.ts';
import { workerInput } from '../../../platform/thread.ts';
import { HostClient } from '../../clients/host-client.ts';
import { type CallName, thisArchitecture } from '../filter/call-numbers.ts';
import { traceLine } from '../trace/trace.ts';
import { buildTree } from '../tree/build.ts';
import { carryOut } from './dispatch.ts';
import type { SupervisorData } from './protocol.ts';
import { Supervisor, type TracedCall } from './supervisor.ts';

const { listener, stop, socketPath, tree, trace: traceFd } = workerInput<SupervisorData>();
const host = new HostClient(socketPath);
const info = host.ask({ op: 'info' });
// Its bytes last until the next request.
buildTree(tree, { info, functions: host.ask({ op: 'functions' }) });
host.close();
const carry = carryOut(thisArchitecture!, socketPath, { path: tree, fd: open(tree, O_PATH) });
const say = (fd: number, line: string): void => void writeSync(fd, `${line}\n`);
const names = new Map(Object.entries(thisArchitecture!.numbers).map(([name, nr]) => [nr, name as CallName]));
const trace = (call: TracedCall): void => {
  const line = traceLine(names.get(call.nr)!, call);
  if (line !== undefined) say(traceFd!, line);
};
new Supervisor({
  ...{ listener, stop, socketPath, carry },
  report: (line) => say(2, `livevmm: internal error: ${line}`),
  ...(traceFd === null ? {} : { trace }),
}).run();
