/**
 * JSON as QEMU's monitor reads it (qobject/json-lexer.c, json-parser.c): RFC 8259, and strings in
 * single quotes. Duplicate keys, lone surrogates, control characters and bytes that are no UTF-8
 * are errors. Nothing here recurses: a client chooses the nesting.
 */
import { QmpError } from './qmp-error.ts';

/**
 * A number as the client wrote it. It may be larger or more exact than a JS number, and goes back
 * letter by letter.
 */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type ClientJson = string | JsonNumber | boolean | null | readonly ClientJson[] | ClientObject;
/** A Map, because any string may be a key, `__proto__` too. */
export type ClientObject = ReadonlyMap<string, ClientJson>;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])/y;
const WORD = /[a-z]+/iy;
const SPACE = /[ \t\r\n\v\f\0]*/y;
const KEYWORDS: ReadonlyMap<string, ClientJson> = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '"': '"', "'": "'", '\\': '\\', '/': '/' },
  ...{ b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' },
};

const wrong = (what: string): QmpError => new QmpError(`JSON parse error, ${what}`);

/** A list or an object that is not closed yet. */
type Frame =
  | { readonly kind: 'list'; readonly items: ClientJson[] }
  | { readonly kind: 'object'; readonly members: Map<string, ClientJson>; key: string };

/** Parses one value with nothing behind it. QmpError in QEMU's words. */
export function parseJson(bytes: Uint8Array): ClientJson {
  return new Parser(decode(bytes)).parse();
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrong('invalid UTF-8 sequence in string');
  }
}

class Parser {
  readonly #text: string;
  #at = 0;
  readonly #open: Frame[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  parse(): ClientJson {
    for (;;) {
      let value = this.#begin();
      // A value may be the last of its list or object, and that list or object the last of the
      // next.
      while (value !== undefined) {
        const frame = this.#open.at(-1);
        if (!frame) return this.#finish(value);
        if (frame.kind === 'list') frame.items.push(value);
        else frame.members.set(frame.key, value);
        value = this.#next(frame);
      }
    }
  }

  /**
   * The value that begins here. undefined: a list or object has been opened and waits for its first
   * value.
   */
  #begin(): ClientJson | undefined {
    this.#skip(SPACE);
    const character = this.#text[this.#at];
    if (character === '{') return this.#beginObject();
    if (character === '[') return this.#beginList();
    if (character === '"' || character === "'") return this.#string(character);
    const number = this.#match(NUMBER);
    if (number !== undefined) return new JsonNumber(number);
    const word = this.#match(WORD);
    if (word === undefined) throw wrong(character === undefined ? 'premature EOI' : `stray '${character}'`);
    const value = KEYWORDS.get(word);
    if (value === undefined) throw wrong(`invalid keyword '${word}'`);
    return value;
  }

  #beginList(): ClientJson | undefined {
    this.#at++;
    const items: ClientJson[] = [];
    if (this.#accept(']')) return items;
    this.#open.push({ kind: 'list', items });
    return undefined;
  }

  #beginObject(): ClientJson | undefined {
    this.#at++;
    const members = new Map<string, ClientJson>();
    if (this.#accept('}')) return members;
    this.#open.push({ kind: 'object', members, key: this.#key(members) });
    return undefined;
  }

  /**
   * Goes on after a value of `frame`. undefined: another value follows. Else returns the whole list
   * or object.
   */
  #next(frame: Frame): ClientJson | undefined {
    const isList = frame.kind === 'list';
    if (this.#accept(',')) {
      if (!isList) frame.key = this.#key(frame.members);
      return undefined;
    }
    if (!this.#accept(isList ? ']' : '}')) throw wrong(`expected separator in ${isList ? 'list' : 'dict'}`);
    this.#open.pop();
    return isList ? frame.items : frame.members;
  }

  #key(members: ReadonlyMap<string, ClientJson>): string {
    this.#skip(SPACE);
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") throw wrong('key is not a string in object');
    const key = this.#string(quote);
    if (!this.#accept(':')) throw wrong('missing : in object pair');
    if (members.has(key)) throw wrong('duplicate key');
    return key;
  }

  #finish(value: ClientJson): ClientJson {
    this.#skip(SPACE);
    if (this.#at < this.#text.length) throw wrong(`stray '${this.#text[this.#at]}'`);
    return value;
  }

  #string(quote: string): string {
    let value = '';
    this.#at++;
    for (;;) {
      const character = this.#text[this.#at++];
      if (character === undefined) throw wrong('premature EOI');
      if (character === quote) return value;
      if (character < ' ') throw wrong('stray control character in string');
      value += character === '\\' ? this.#escape() : character;
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? '';
    if (letter === 'u') return this.#unicode();
    const character = ESCAPES[letter];
    if (character === undefined) throw wrong(`invalid escape sequence '\\${letter}' in string`);
    return character;
  }

  /** `\uXXXX`, or two of them for a character beyond the first plane. */
  #unicode(): string {
    const first = this.#hex();
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    const name = `\\u${first.toString(16).padStart(4, '0')}`;
    if (first > 0xdbff || !this.#text.startsWith('\\u', this.#at))
      throw wrong(`${name} is not a valid Unicode character`);
    this.#at += 2;
    const second = this.#hex();
    if (second < 0xdc00 || second > 0xdfff) throw wrong(`${name} is not a valid Unicode character`);
    return String.fromCharCode(first, second);
  }

  #hex(): number {
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-f]{4}$/i.test(digits)) throw wrong(`invalid hex escape '\\u${digits}' in string`);
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }

  #accept(character: string): boolean {
    this.#skip(SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #skip(pattern: RegExp): void {
    this.#match(pattern);
  }
}
