/**
 * Reads files of recorded kernel answers (.vec, .vec.gz): cases of steps, each with the answer of a
 * real kernel. docs/recordings.md, "Format", describes the format. A file that breaks the format
 * gets an error message of one line.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

import { syntaxError } from './step-syntax.ts';

/** A test device of the recorded machine. */
export interface VectorDevice {
  readonly name: string;
  readonly bdf: string;
  readonly group: number;
}

/** A step: an operation and the actor that executes it. */
export interface Step {
  readonly line: number;
  /** The step's text in the file, without its mark. */
  readonly text: string;
  /** `@T`: actor T executes the step; null: the main actor does. */
  readonly actor: string | null;
  /** `@T&`: the step is started in the background and answered `started`. */
  readonly inBackground: boolean;
  readonly op: string;
  readonly args: readonly string[];
  /** The `key=value` words. */
  readonly options: Readonly<Record<string, string>>;
}

export interface VectorStep extends Step {
  /** `!`: the step prepares the case; `>`: the case is about this step. */
  readonly setUp: boolean;
  /**
   * The answer as written in the file: a value, `-ERRNO`, `SIGBUS`, `blocked` …, and `key=value`
   * words.
   */
  readonly expected: string;
}

export interface VectorCase {
  readonly name: string;
  readonly line: number;
  readonly steps: readonly VectorStep[];
}

/** The machine of a recorded program, as `livevmm with` takes its options. */
export interface DescribedMachine {
  readonly devices: readonly string[];
  readonly iommus: readonly string[];
  readonly memlock?: string;
}

export interface VectorFile {
  readonly path: string;
  /** The recording kernel; '' when the file does not tell. */
  readonly uname: string;
  /** From `# group NAME: …`; the file's name when the file does not tell. */
  readonly group: string;
  readonly devices: readonly VectorDevice[];
  /** Absent in the recordings of real kernels, whose machine is always the same. */
  readonly machine?: DescribedMachine;
  readonly cases: readonly VectorCase[];
}

/** An error in a file. Its message is one line: `path:line: what is wrong`. */
export class VectorError extends Error {}

export function readVectorFile(path: string): VectorFile {
  let text: string;
  try {
    const raw = readFileSync(path);
    text = (path.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8');
  } catch (error) {
    throw new VectorError(`${path}: ${(error as Error).message}`);
  }
  return parseVectors(text, path);
}

/** Parses a file. VectorError for anything that breaks the format. */
export function parseVectors(text: string, path: string): VectorFile {
  const parser = new Parser(path);
  for (const [index, line] of text.split('\n').entries()) parser.line(line, index + 1);
  return parser.end();
}

type Unanswered = Omit<VectorStep, 'expected'>;

class Parser {
  readonly #path: string;
  readonly #devices: VectorDevice[] = [];
  readonly #machine: { devices: string[]; iommus: string[]; memlock?: string } = { devices: [], iommus: [] };
  readonly #cases: VectorCase[] = [];
  #uname = '';
  #group: string | undefined;
  #steps: VectorStep[] | undefined;
  #pending: Unanswered | undefined;
  #number = 0;

  constructor(path: string) {
    this.#path = path;
  }

  #fail(what: string): never {
    throw new VectorError(`${this.#path}:${this.#number}: ${what}`);
  }

  line(line: string, number: number): void {
    this.#number = number;
    const mark = line.slice(0, 2);
    if (this.#pending && mark !== '< ') this.#fail(`expected the answer to \`${shortened(this.#pending.text)}\``);
    if (line === '') return;
    if (line.startsWith('#')) this.#comment(line);
    else if (line.startsWith('case ')) this.#case(line.slice('case '.length));
    else if (!this.#steps) this.#fail(`\`${shortened(line)}\` outside a case`);
    else if (line === 'end') this.#steps = undefined;
    else if (mark === '! ' || mark === '> ') this.#pending = this.#step(line);
    else if (mark === '< ') this.#answer(line.slice(2));
    else this.#fail(`\`${shortened(line)}\` is no step, answer or comment`);
  }

  end(): VectorFile {
    if (this.#pending) this.#fail('the file ends before the last answer');
    if (this.#steps) this.#fail(`the file ends inside case ${this.#cases.at(-1)!.name}`);
    const group = this.#group ?? this.#path.replace(/^.*\//, '').replace(/(-sample)?\.vec(\.gz)?$/, '');
    const machine = this.#machine.devices.length > 0 ? { machine: this.#machine } : {};
    return { path: this.#path, uname: this.#uname, group, devices: this.#devices, ...machine, cases: this.#cases };
  }

  #comment(line: string): void {
    if (line.startsWith('#%uname ')) this.#uname = line.slice('#%uname '.length);
    else if (line.startsWith('#%dev ')) {
      const match = /^#%dev (\S+) (\S+) (\d+)$/.exec(line);
      if (!match) this.#fail('not `#%dev NAME BDF GROUP`');
      this.#devices.push({ name: match[1]!, bdf: match[2]!, group: Number(match[3]) });
    } else if (line.startsWith('#%')) this.#describe(line);
    else this.#group ??= /^# group (\S+?):/.exec(line)?.[1];
  }

  #describe(line: string): void {
    const [, what, value = ''] = /^#%(\S+) (.*)$/.exec(line) ?? [];
    if (what === 'device') this.#machine.devices.push(value);
    else if (what === 'iommu') this.#machine.iommus.push(value);
    else if (what === 'memlock') this.#machine.memlock = value;
  }

  #case(name: string): void {
    if (this.#steps) this.#fail('a case inside a case');
    this.#steps = [];
    this.#cases.push({ name, line: this.#number, steps: this.#steps });
  }

  #step(line: string): Unanswered {
    const words = line.slice(2).split(' ').filter(Boolean);
    const actor = words[0]?.startsWith('@') ? words.shift()! : undefined;
    const op = words.shift() ?? this.#fail('a step without an operation');
    const isOption = (word: string): boolean => /^[a-z]+=/.test(word);
    const step: Unanswered = {
      line: this.#number,
      text: line.slice(2),
      setUp: line.startsWith('!'),
      actor: actor?.replace(/^@|&$/g, '') ?? null,
      inBackground: actor?.endsWith('&') ?? false,
      op,
      args: words.filter((word) => !isOption(word)),
      options: Object.fromEntries(words.filter(isOption).map(splitOption)),
    };
    const error = syntaxError(step);
    if (error !== undefined) this.#fail(error);
    return step;
  }

  #answer(expected: string): void {
    if (!this.#pending || !this.#steps) this.#fail('an answer without a step');
    if (!/^\S/.test(expected)) this.#fail('an empty answer');
    this.#steps.push({ ...this.#pending, expected });
    this.#pending = undefined;
  }
}

function splitOption(word: string): [string, string] {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}

const shortened = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
