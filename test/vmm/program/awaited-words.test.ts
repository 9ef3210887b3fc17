import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { acceptNow, listenAbstract, peerCredentials } from '../../../platform/libc/unix-socket.ts';
import { awaitWords } from '../../../vmm/program/awaited-words.ts';

const OWNER = `livevmm-test-${process.pid}`;

let dir: string;
let listener: number;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-test-'));
  listener = listenAbstract(OWNER);
});
afterEach(() => {
  closeSync(listener);
  rmSync(dir, { recursive: true });
});

/** What the VMM reads until the end, in place of a pipe. */
function reads(text: string): readonly string[] | undefined {
  const path = join(dir, 'words');
  writeFileSync(path, text);
  return awaitWords(openSync(path, 'r'));
}

describe('a VMM that waits for its command line', () => {
  it('gets it with a lifeline to whoever wrote it', () => {
    const long = 'x'.repeat(200_000);
    const words = reads(`${JSON.stringify({ words: ['--kernel', long, 'ä "\n'], owner: OWNER })}\n`);

    expect(words).toEqual(['--kernel', long, 'ä "\n', '--lifeline', expect.stringMatching(/^\d+$/)]);
    const [ours, theirs] = [acceptNow(listener)!, Number(words!.at(-1))];
    expect(peerCredentials(ours).pid).toBe(process.pid);
    for (const fd of [ours, theirs]) closeSync(fd);
  });

  it.each([
    ['nothing', ''],
    ['half of it', '{"words": ["--ker'],
    ['all of it, and then ended', '{"words": [], "owner": "livevmm-test-nobody"}\n'],
  ])('gets none from an owner that wrote %s', (_, text) => {
    expect(reads(text)).toBeUndefined();
  });
});
