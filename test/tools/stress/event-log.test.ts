import { beforeEach, describe, expect, it } from 'vitest';

import { EventLog, LOG_BYTES, LogReader, PHASE } from '../../../tools/stress/event-log.ts';

let buffer: SharedArrayBuffer;
let reader: LogReader;
beforeEach(() => {
  buffer = new SharedArrayBuffer(LOG_BYTES);
  reader = new LogReader(buffer);
});

describe('the event log of an actor', () => {
  it('keeps the last events, oldest first, with what was added to them', () => {
    const log = new EventLog(buffer);
    for (let i = 0; i < 600; i++) {
      log.event(`call ${i}`);
      log.add(` = ${i % 2}`);
    }
    log.event('under way');
    const events = reader.events(3);
    expect(events.map(({ text }) => text)).toEqual(['call 598 = 0', 'call 599 = 1', 'under way']);
    expect(events[0]!.atNs).toBeLessThanOrEqual(events[2]!.atNs);
    expect(reader.events(10_000)).toHaveLength(256);
  });

  it('cuts a text that is too long', () => {
    const log = new EventLog(buffer);
    log.event('x'.repeat(1000));
    log.add('y');
    log.event('next');
    expect(reader.events(2).map(({ text }) => text)).toEqual(['x'.repeat(180), 'next']);
  });

  it('goes on over an exec and over a new process', () => {
    new EventLog(buffer).event('before');
    const log = new EventLog(buffer);
    log.event('after');
    log.count('execs');
    reader.restart();
    new EventLog(buffer).count('execs');
    expect(reader.events(9).map(({ text }) => text)).toEqual(['before', 'after']);
    expect(reader.counts().execs).toBe(2);
  });

  it('tells phase, pid and sign of life, and takes the request to stop', () => {
    const log = new EventLog(buffer);
    log.enter(PHASE.executing);
    expect([reader.phase(), reader.pid()]).toEqual([PHASE.executing, process.pid]);
    const before = reader.beatNs();
    log.beat();
    expect(reader.beatNs()).toBeGreaterThan(before);
    reader.requestStop();
    expect(log.stopRequested()).toBe(true);
    reader.restart();
    expect([log.stopRequested(), reader.phase()]).toEqual([false, PHASE.starting]);
  });
});
