/**
 * Files of recorded kernel answers (.vec, .vec.gz): cases of steps, each with the answer a real kernel gave. The format is
 * described in the README beside the recordings; this reads it and says in one line what is wrong with a file that is not of it.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** A test device of the recorded machine. */
export interface VectorDevice {
  readonly name: string;
  readonly bdf: string;
  readonly group: number;
}

export interface VectorResult {
  /** A decimal value, `-ERRNO`, `SIGBUS`, `started`, `blocked`, … */
  readonly status: string;
  /** `out`, `bm`, `data`, `value`, `lck`, `pin`, `log` as they stand in the file. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface VectorStep {
  readonly line: number;
  /** The step as it stands in the file, without its mark. */
  readonly text: string;
  /** `!`: it sets the scene; `>`: it is what the case is about. */
  readonly setUp: boolean;
  /** `@T`: executed by actor T. */
  readonly actor: string | undefined;
  /** `@T&`: started, and answered `started`. */
  readonly inBackground: boolean;
  readonly op: string;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string>>;
  readonly expected: VectorResult;
}

export interface VectorCase {
  readonly name: string;
  readonly line: number;
  readonly steps: readonly VectorStep[];
}

export interface VectorFile {
  readonly path: string;
  readonly uname: string;
  readonly devices: readonly VectorDevice[];
  readonly cases: readonly VectorCase[];
}

export class VectorError extends Error {}

export function readVectorFile(path: string): VectorFile {
  const raw = readFileSync(path);
  const text = path.endsWith('.gz') ? gunzipSync(raw) : raw;
  return parseVectors(text.toString('utf8'), path);
}

/** VectorError `path:line: what` for anything that is not as the format says. */
export function parseVectors(text: string, path: string): VectorFile {
  let uname = '';
  const devices: VectorDevice[] = [];
  const cases: VectorCase[] = [];
  let steps: VectorStep[] | undefined;
  let pending: Omit<VectorStep, 'expected'> | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const number = index + 1;
    const fail = (what: string): never => {
      throw new VectorError(`${path}:${number}: ${what}`);
    };
    const mark = line[0];
    if (pending && mark !== '<') fail('a step without an answer');
    if (line === '') continue;
    if (line.startsWith('#%uname ')) uname = line.slice('#%uname '.length);
    else if (line.startsWith('#%dev ')) devices.push(parseDevice(line) ?? fail('not `#%dev NAME BDF GROUP`'));
    else if (mark === '#') continue;
    else if (line.startsWith('case ')) {
      if (steps) fail('a case inside a case');
      steps = [];
      cases.push({ name: line.slice('case '.length), line: number, steps });
    } else if (!steps) fail(`\`${line}\` outside a case`);
    else if (line === 'end') steps = undefined;
    else if (mark === '!' || mark === '>') pending = parseStep(line, number) ?? fail('a step without an operation');
    else if (mark === '<' && pending) {
      steps!.push({ ...pending, expected: parseResult(line.slice(2)) });
      pending = undefined;
    } else fail(mark === '<' ? 'an answer without a step' : `\`${line}\` is no step, answer or comment`);
  }
  if (steps || pending) throw new VectorError(`${path}: ends inside a case`);
  return { path, uname, devices, cases };
}

function parseDevice(line: string): VectorDevice | undefined {
  const match = /^#%dev (\S+) (\S+) (\d+)$/.exec(line);
  return match ? { name: match[1]!, bdf: match[2]!, group: Number(match[3]) } : undefined;
}

function parseStep(line: string, number: number): Omit<VectorStep, 'expected'> | undefined {
  const words = line.slice(2).split(' ').filter(Boolean);
  const actor = words[0]?.startsWith('@') ? words.shift()! : undefined;
  const op = words.shift();
  if (op === undefined) return undefined;
  const isOption = (word: string): boolean => /^[a-z]+=/.test(word);
  const options = words.filter(isOption).map((word) => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
  return {
    line: number,
    text: line.slice(2),
    setUp: line[0] === '!',
    actor: actor?.replace(/^@|&$/g, ''),
    inBackground: actor?.endsWith('&') ?? false,
    op,
    args: words.filter((word) => !isOption(word)),
    options: Object.fromEntries(options),
  };
}

export function parseResult(text: string): VectorResult {
  const [status = '', ...words] = text.split(' ');
  const fields = words.map((word) => {
    const at = word.indexOf('=');
    return at < 0 ? ([word, ''] as const) : ([word.slice(0, at), word.slice(at + 1)] as const);
  });
  return { status, fields: Object.fromEntries(fields) };
}

const U64 = (1n << 64n) - 1n;

/** A number of a step: C literals and `$NAME`s added up, modulo 2^64. */
export function evaluate(expression: string, symbols: ReadonlyMap<string, number>): bigint {
  let sum = 0n;
  for (const term of expression.split('+')) {
    if (term.startsWith('$')) {
      const value = symbols.get(term.slice(1));
      if (value === undefined) throw new VectorError(`${term} is not defined`);
      sum += BigInt(value);
    } else sum += term.startsWith('-') ? -BigInt(term.slice(1)) : BigInt(term);
  }
  return sum & U64;
}

/** Bytes as steps and answers have them: plain hex, or runs `61*3840.00*256`. */
export function formatBytes(bytes: Uint8Array): string {
  const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
  if (bytes.length <= 24) return [...bytes].map(hex).join('');
  const runs: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    let end = at + 1;
    while (end < bytes.length && bytes[end] === bytes[at]) end++;
    runs.push(end - at === 1 ? hex(bytes[at]!) : `${hex(bytes[at]!)}*${end - at}`);
    at = end;
  }
  return runs.join('.');
}
