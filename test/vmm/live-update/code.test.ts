import { writeFileSync } from 'node:fs';
import { Script } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { close, memfdCreate } from '../../../platform/libc.ts';
import { encodeCode, isIntact, readCode, runCode } from '../../../vmm/live-update/code.ts';

/** The file in which an image hands compiled code to the next. */

const SOURCE = '(function (exports) { exports.answer = () => 42; })';
const cachedData = new Script(SOURCE, { filename: '/program.cjs' }).createCachedData();
const intact = encodeCode({ source: SOURCE, cachedData });

let fd: number;

beforeEach(() => {
  fd = memfdCreate('code');
});

afterEach(() => close(fd));

/** As by a child: the position of the fd is behind the content then. */
const write = (content: Uint8Array): void => writeFileSync(fd, content);

function withByte(offset: number, value: number): Uint8Array {
  const file = Uint8Array.from(intact);
  file[offset] = value;
  return file;
}

describe('a code file', () => {
  it('gives source and cached data back, however often it is read', () => {
    write(intact);
    expect(isIntact(fd)).toBe(true);
    expect(readCode(fd)).toEqual({ source: SOURCE, cachedData });
    expect(readCode(fd)).toEqual({ source: SOURCE, cachedData });
  });

  it.each([
    { what: 'empty', content: new Uint8Array() },
    { what: 'a header that is cut short', content: intact.subarray(0, 23) },
    { what: 'cut short', content: intact.subarray(0, -1) },
    { what: 'longer than it says', content: Buffer.concat([intact, new Uint8Array(1)]) },
    { what: 'of another kind', content: withByte(0, 0) },
    { what: 'of another length', content: withByte(8, SOURCE.length - 1) },
  ])('is no code when it is $what', ({ content }) => {
    write(content);
    expect(isIntact(fd)).toBe(false);
    expect(readCode(fd)).toBeUndefined();
  });

  it('is not intact when one byte of it is another', () => {
    write(withByte(intact.length - 1, intact.at(-1)! ^ 1));
    expect(isIntact(fd)).toBe(false);
  });
});

describe('runCode', () => {
  it.each([
    { what: 'its own cached data', cached: cachedData },
    { what: 'cached data of another V8', cached: Buffer.alloc(cachedData.length) },
    { what: 'no cached data', cached: Buffer.alloc(0) },
  ])('runs a program with $what', ({ cached }) => {
    const program = runCode({ source: SOURCE, cachedData: cached }, '/program.cjs') as { answer(): number };
    expect(program.answer()).toBe(42);
  });
});
