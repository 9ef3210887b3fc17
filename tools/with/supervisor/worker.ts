/**
 * The thread of a supervisor. It ends when nobody is left who has the filter. It also asks the host
 * for its machine: a private host answers from the thread that has started this one.
 */
import { writeSync } from 'node:fs';

import { O_PATH, open } from '../../../platform/libc/fd.ts';
import { workerInput } from '../../../platform/thread.ts';
import { HostClient } from '../../clients/host-client.ts';
import { thisArchitecture } from '../filter/call-numbers.ts';
import { buildTree } from '../tree/build.ts';
import { carryOut } from './dispatch.ts';
import type { SupervisorData } from './protocol.ts';
import { imagesOfHost, RomFiles } from './rom-files.ts';
import { Supervisor } from './supervisor.ts';
import { tracerTo } from './tracer.ts';

const { listener, stop, socketPath, tree, trace: output, mapRegisters } = workerInput<SupervisorData>();
const host = new HostClient(socketPath);
const info = host.ask({ op: 'info' });
// Its bytes last until the next request.
const isRoot = process.geteuid?.() === 0;
buildTree(tree, { info, functions: host.ask({ op: 'functions' }) }, isRoot);
host.close();
const roms = new RomFiles(imagesOfHost(socketPath), isRoot);
const files = { path: tree, fd: open(tree, O_PATH), roms };
const carry = carryOut(thisArchitecture!, { socketPath, mapRegisters, tree: files });
const say = (line: string): void => void writeSync(2, `livevmm: ${line}\n`);
const tracer = output === null ? undefined : tracerTo(output, say);
new Supervisor({
  ...{ listener, stop, socketPath, carry },
  report: (line) => say(`internal error: ${line}`),
  ...(tracer ? { trace: tracer.over } : {}),
}).run();
tracer?.end();
