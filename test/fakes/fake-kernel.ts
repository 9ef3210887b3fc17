/**
 * A thread that speaks the wire protocol (iommu/abi/wire.ts) with fixed answers. Tests of the
 * client library use it to see what a client makes of them.
 */

import { createServer, type Socket } from 'node:net';
import { parentPort } from 'node:worker_threads';
import { parseControlRequest } from '../../iommu/abi/control.ts';

import {
  type Hello,
  type IoctlsRequest,
  parseHello,
  parseRequest,
  type Reply,
  type Request,
} from '../../iommu/abi/wire.ts';
import { encodeFrame, FrameReader } from '../../platform/frames.ts';
import { workerInput } from '../../platform/thread.ts';
import { NR_BY_VALUE, NR_NEW_FD, NR_REFUSED, NR_SPLIT, NR_STRUCT, REFUSED_BYTE, TOKEN } from './fake-ioctls.ts';

function hello(message: Hello): Reply {
  if ('task' in message) return { ret: 0, pid: process.pid };
  if (message.open === 'anon:vfio-device') return { ret: message.token === TOKEN ? 0 : -13 };
  return { ret: message.open === '/dev/vfio/vfio' ? 0 : -2 };
}

function answer(request: Request): Reply | undefined {
  if (request.op === 'sync') return { ret: 0 };
  if (request.op === 'pread') return { ret: request.length, out: new Uint8Array(request.length).fill(request.fd) };
  if (request.op === 'pwrite') return { ret: request.data.length };
  if (request.op === 'control') return { ret: 0, reply: { asked: parseControlRequest(request.request).op } };
  if (request.op === 'ioctls') return answerAll(request);
  if (request.op !== 'ioctl') return undefined;
  switch (request.nr) {
    case NR_BY_VALUE:
      return { ret: Number(request.arg) };
    case NR_STRUCT:
      return { ret: 0, out: Uint8Array.from(request.arg as Uint8Array, (byte) => byte + 1) };
    case NR_NEW_FD:
      return { ret: 0, token: TOKEN };
    case NR_REFUSED:
      return { ret: -16, message: 'the group is in use' };
    case NR_SPLIT:
      return { ret: 0, out: new Uint8Array(300_000).fill(7) };
    default:
      return undefined;
  }
}

/** Adds 1 to every byte before the first struct that begins with REFUSED_BYTE. */
function answerAll({ args, size }: IoctlsRequest): Reply {
  const total = args.length / size;
  const refused = Array.from({ length: total }, (_, i) => args[i * size]).indexOf(REFUSED_BYTE);
  const done = refused < 0 ? total : refused;
  const out = args.map((byte, i) => (i < done * size ? byte + 1 : byte));
  return refused < 0 ? { ret: 0, done, out } : { ret: -16, done, out, message: 'in use' };
}

function serve(socket: Socket): void {
  const frames = new FrameReader();
  let greeted = false;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    for (const frame of frames.push(chunk)) {
      const reply = greeted ? answer(parseRequest(frame)) : hello(parseHello(frame));
      greeted = true;
      if (reply) socket.write(encodeFrame(reply));
      else socket.destroy();
    }
  });
}

const server = createServer(serve).listen(workerInput<string>(), () => parentPort?.postMessage('listening'));
parentPort?.once('message', () => server.close());
