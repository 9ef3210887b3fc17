/**
 * What devices have to do with the world outside, recorded or replayed. In a replay a wire is dead,
 * and nothing is asked of a folder: all that the guest heard of them is in the recording. What it
 * says to a console goes to whoever is there. A disk is read and written: its image must be what it
 * was.
 */
import { crc32 } from 'node:zlib';

import type { Disk } from '../../../../devices/virtio/blk.ts';
import type { ByteStream } from '../../../../devices/virtio/console.ts';
import type { NetPort } from '../../../../devices/virtio/net.ts';
import type { NinepAnswers } from '../../../../devices/virtio/ninep.ts';
import { codeOf, eio } from '../../../../platform/errno.ts';
import type { Recording } from './recording.ts';

/**
 * Whether a device could send. A guest that sends is nearly always heard at once, and a device that
 * looks whether it can send now, cannot: the other case is the event.
 */
function sent(recording: Recording, port: number, send: () => boolean): boolean {
  const { replays, looking } = recording;
  if (replays) {
    const taken = (recording.takes('write', port) !== undefined) === looking;
    if (taken) send();
    return taken;
  }
  const done = send();
  if (done === looking) recording.note('write', port);
  return done;
}

export function recordedStream(stream: ByteStream, port: number, recording: Recording): ByteStream {
  return {
    read(into) {
      if (recording.replays) return copied(recording, port, into);
      const count = stream.read(into);
      if (count > 0) recording.note('read', port, into.subarray(0, count));
      return count;
    },
    write: (bytes) => sent(recording, port, () => stream.write(bytes)),
  };
}

/** 0: nothing comes now. */
function copied(recording: Recording, port: number, into: Uint8Array): number {
  const bytes = recording.takes('read', port);
  if (!bytes) return 0;
  if (bytes.length > into.length) throw recording.diverged('a virtio device has less room for data');
  into.set(bytes);
  return bytes.length;
}

export function recordedWire(wire: NetPort, port: number, recording: Recording): NetPort {
  return {
    receive() {
      if (recording.replays) return recording.takes('read', port);
      const frame = wire.receive();
      if (frame) recording.note('read', port, frame);
      return frame;
    },
    send: (frame) => sent(recording, port, () => recording.replays || wire.send(frame)),
  };
}

const crcOf = (bytes: Uint8Array): Uint8Array => {
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32(bytes));
  return crc;
};
const FAILED = new Uint8Array();

export function recordedDisk(disk: Disk, port: number, recording: Recording): Disk {
  const changing = (work: () => void): void => {
    if (recording.replays && recording.takes('disk-error', port)) throw eio('as it was recorded');
    try {
      work();
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      if (recording.replays) throw recording.diverged(`disk ${port} cannot be written (${codeOf(error)})`);
      recording.note('disk-error', port);
      throw error;
    }
  };
  const { size, readOnly, writeback, serial, buffer } = disk;
  return {
    ...{ size, readOnly, writeback, serial, buffer },
    read(at, into) {
      const recorded = recording.replays ? recording.needs('disk', port) : undefined;
      if (recorded?.length === 0) throw eio('as it was recorded');
      try {
        disk.read(at, into);
      } catch (error) {
        if (codeOf(error) === undefined) throw error;
        if (recorded) throw recording.diverged(`disk ${port} cannot be read (${codeOf(error)})`);
        recording.note('disk', port, FAILED);
        throw error;
      }
      const crc = crcOf(into);
      if (!recorded) recording.note('disk', port, crc);
      else if (!crc.every((byte, i) => byte === recorded[i])) throw recording.diverged(`disk ${port} has other data`);
    },
    write: (at, bytes) => changing(() => disk.write(at, bytes)),
    flush: () => changing(() => disk.flush()),
  };
}

export function recordedAnswers(server: NinepAnswers, port: number, recording: Recording): NinepAnswers {
  return {
    answer(request, into) {
      if (!recording.replays) {
        const length = server.answer(request, into);
        recording.note('answer', port, into.subarray(0, length));
        return length;
      }
      const answer = recording.needs('answer', port);
      into.set(answer);
      return answer.length;
    },
  };
}
