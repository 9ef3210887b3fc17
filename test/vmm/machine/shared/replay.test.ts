/** Events of a recording, their file, and the ways of devices to the outside that it stands in. */
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Disk } from '../../../../devices/virtio/blk.ts';
import { eio } from '../../../../platform/errno.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { ftruncate, pwrite } from '../../../../platform/libc/file-bytes.ts';
import { memfdCreate } from '../../../../platform/libc/memfd.ts';
import { BEGINNING, decodeEvent, encodeEvent, type ReplayEvent } from '../../../../vmm/machine/shared/replay/event.ts';
import { EventLog } from '../../../../vmm/machine/shared/replay/log.ts';
import { recordedAnswers, recordedDisk, recordedStream } from '../../../../vmm/machine/shared/replay/ports.ts';
import { Recording, RecordingIsOver } from '../../../../vmm/machine/shared/replay/recording.ts';

let fd: number;
beforeEach(() => {
  fd = memfdCreate('livevmm-test');
});
afterEach(() => close(fd));

const kinds = fc.constantFrom<ReplayEvent['kind'][]>('check', 'stop', 'input', 'read', 'write', 'answer', 'call');
/** Events in the order of their moments. */
const events = fc
  .array(
    fc.record({
      kind: kinds,
      port: fc.nat(255),
      looking: fc.boolean(),
      instructions: fc.nat(1 << 30),
      ns: fc.bigInt({ min: 0n, max: 1n << 62n }),
      bytes: fc.uint8Array({ maxLength: 40 }),
    }),
    { maxLength: 12 },
  )
  .map((list) => {
    let at = BEGINNING;
    return list.map(({ instructions, ns, ...event }): ReplayEvent => {
      at = { instructions: at.instructions + instructions, ns: at.ns + ns };
      return { ...event, at };
    });
  });

const start = { position: 0, before: BEGINNING };

function readAll(): ReplayEvent[] {
  const log = new EventLog(fd, 'log', start);
  const read: ReplayEvent[] = [];
  for (let { head } = log; head; { head } = log) {
    read.push(head);
    log.next();
  }
  return read;
}

describe('the file of a recording', () => {
  it('gives each event back', () => {
    fc.assert(
      fc.property(events, (written) => {
        ftruncate(fd, 0);
        const log = new EventLog(fd, 'log', start);
        for (const event of written) log.append(event);
        expect(readAll()).toEqual(written);
      }),
    );
  });

  it('has events that are longer than what is read at once', () => {
    const bytes = new Uint8Array(200_000).map((_, i) => i);
    new EventLog(fd, 'log', start).append({ kind: 'answer', port: 0, looking: false, at: BEGINNING, bytes });
    expect(Buffer.compare(readAll()[0]!.bytes, bytes)).toBe(0);
  });

  it('ends before an event that is not whole, wherever that is cut off', () => {
    const event: ReplayEvent = {
      ...{ kind: 'input', port: 3, looking: true, at: { instructions: 1 << 20, ns: 1n << 40n } },
      bytes: Uint8Array.from(Buffer.from('typed')),
    };
    const whole = encodeEvent(event, BEGINNING);
    const parts = Array.from(whole, (_, length) => decodeEvent(whole.subarray(0, length), BEGINNING));
    expect(parts.filter((part) => part !== undefined)).toEqual([]);
    const log = new EventLog(fd, 'log', start);
    log.append(event);
    log.append({ ...event, at: { ...event.at, instructions: 2 << 20 } });
    ftruncate(fd, log.position - 1);
    expect(readAll()).toEqual([event]);
  });

  it('names the place of damage', () => {
    pwrite(fd, Uint8Array.of(0x7f, 0, 0, 0, 0), 0);
    expect(readAll).toThrow('rrfile log: at byte 0: no event is of kind 127');
  });
});

/** A guest that was recorded by `record`, and is replayed. */
const clock = { instructions: 0, ns: 0n };
const recordingIn = (mode: 'record' | 'replay'): Recording => {
  Object.assign(clock, { instructions: 0, ns: 0n });
  return new Recording({ fd, path: 'log', mode, start: 0 }, () => clock);
};
const at = (instructions: number): void => void Object.assign(clock, { instructions, ns: BigInt(instructions) });

describe('a replay', () => {
  it('lets the guest run to the next event and no further', () => {
    const recording = recordingIn('record');
    at(500);
    recording.note('reset');
    const replay = recordingIn('replay');
    expect([replay.bounded(65_536), replay.bounded(20)]).toEqual([500, 20]);
    at(501);
    expect(() => replay.checkPassed()).toThrow(
      'at instruction 501 it has gone further; next in the recording is a reset from outside at instruction 500',
    );
  });

  it('lets an instruction run that asks for the event', () => {
    const recording = recordingIn('record');
    at(500);
    recording.note('answer', 0, Buffer.from('answer'));
    expect(recordingIn('replay').bounded(65_536)).toBe(501);
  });

  it('is over when the guest asks for what the file has no more', () => {
    const replay = recordingIn('replay');
    expect(() => replay.needs('answer')).toThrow(RecordingIsOver);
    expect(replay.isOver({ looked: false })).toBe(false);
    replay.waits();
    expect(replay.isOver({ looked: false })).toBe(true);
  });

  it('is over at the stop, and where a look at the registers is missing', () => {
    const recording = recordingIn('record');
    at(7);
    recording.note('stop');
    const replay = recordingIn('replay');
    at(7);
    expect(replay.isOver({ looked: false })).toBe(true);
    ftruncate(fd, 0);
    const cutOff = recordingIn('replay');
    at(1 << 24);
    expect([cutOff.isOver({ looked: false }), cutOff.isOver({ looked: true })]).toEqual([false, true]);
  });
});

interface Step {
  readonly looking: boolean;
  /** Instructions since the step before. */
  readonly later: number;
  readonly does: 'read' | 'write';
  /** What the other side has sent, and whether it takes what is sent. */
  readonly sent: string;
  readonly takes: boolean;
}

const steps = fc.array(
  fc.record<Step>({
    looking: fc.boolean(),
    later: fc.nat(2),
    does: fc.constantFrom('read', 'write'),
    sent: fc.constantFrom('', 'a', 'bcd'),
    takes: fc.boolean(),
  }),
  { maxLength: 20 },
);

/** What a device finds that goes these steps. */
function found(mode: 'record' | 'replay', steps: readonly Step[]): (string | boolean)[] {
  const recording = recordingIn(mode);
  let now: Step | undefined;
  const outside = {
    read: (into: Uint8Array) => Buffer.from(now!.sent).copy(into),
    write: () => mode === 'replay' || now!.takes,
  };
  const stream = recordedStream(outside, 1, recording);
  const into = Buffer.alloc(8);
  return steps.map((step, i) => {
    now = step;
    // an instruction asks once, and devices look between two of them
    at(clock.instructions + (step.later || (step.looking && steps[i - 1]?.looking ? 0 : 1)));
    const does = (): string | boolean =>
      step.does === 'read' ? into.toString('latin1', 0, stream.read(into)) : stream.write(into);
    let result: string | boolean = false;
    if (!step.looking) return does();
    recording.look(() => {
      result = does();
    });
    return result;
  });
}

describe('what a device finds outside', () => {
  it('is found again by a replay', () => {
    fc.assert(
      fc.property(steps, (all) => {
        // one look at a moment: more of them are one in a replay
        const once = all.filter(({ looking, later }, i) => !looking || later > 0 || !all[i - 1]?.looking);
        ftruncate(fd, 0);
        const recorded = found('record', once);
        expect(found('replay', once)).toEqual(recorded);
      }),
    );
  });

  const disk = (content: string, fails = false): Disk => ({
    ...{ size: 512, readOnly: false, writeback: true, serial: '', buffer: new Uint8Array(512) },
    read(_, into) {
      if (fails) throw eio('broken');
      into.set(Buffer.from(content));
    },
    write() {
      if (fails) throw eio('broken');
    },
    flush() {},
  });

  it('must be the same data of a disk', () => {
    recordedDisk(disk('data'), 0, recordingIn('record')).read(0, new Uint8Array(4));
    const replay = recordingIn('replay');
    expect(() => recordedDisk(disk('diff'), 0, replay).read(0, new Uint8Array(4))).toThrow('disk 0 has other data');
    expect(() => replay.checkPassed()).toThrow('disk 0 has other data'); // whatever the device makes of it
    recordedDisk(disk('data'), 0, recordingIn('replay')).read(0, new Uint8Array(4));
  });

  it('is an error of a disk again, though that is well', () => {
    const broken = recordedDisk(disk('', true), 0, recordingIn('record'));
    expect(() => broken.read(0, new Uint8Array(4))).toThrow('broken');
    expect(() => broken.write(0, new Uint8Array(4))).toThrow('broken');
    const well = recordedDisk(disk('data'), 0, recordingIn('replay'));
    expect(() => well.read(0, new Uint8Array(4))).toThrow('as it was recorded');
    expect(() => well.write(0, new Uint8Array(4))).toThrow('as it was recorded');
    well.write(0, new Uint8Array(4));
  });

  it('is an answer that nobody is asked for', () => {
    const server = { answer: (_: Uint8Array, into: Uint8Array) => Buffer.from('answer').copy(into) };
    recordedAnswers(server, 0, recordingIn('record')).answer(new Uint8Array(), Buffer.alloc(8));
    const nobody = { answer: () => 0 };
    const into = Buffer.alloc(8);
    const length = recordedAnswers(nobody, 0, recordingIn('replay')).answer(new Uint8Array(), into);
    expect(into.toString('latin1', 0, length)).toBe('answer');
  });
});
