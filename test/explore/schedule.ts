/**
 * Schedules as text: the replay string names every step at which the choice was not the default
 * one.
 */
import { DEFAULT, TIMEOUT } from './control.ts';

/** What happened in an execution, step by step. */
export interface Trace {
  readonly length: number;
  /** Who was granted. */
  readonly picks: Int8Array;
  /** Bits of the possible picks. */
  readonly options: Int32Array;
  /** STATE_WORDS per step; only where there was more than one option. */
  readonly states: Int32Array;
  /** What the granted actor accessed: see encodeAccess; 0 for nothing. */
  readonly accesses: Int32Array;
}

export const lowest = (mask: number): number => 31 - Math.clz32(mask & -mask);

/**
 * The pick without a decision: the actor that ran goes on if it can, else the first one that can,
 * else the first time-out.
 */
export function defaultPick(previous: number, options: number): number {
  const runner = previous >= TIMEOUT ? previous - TIMEOUT : previous;
  return runner >= 0 && (options & (1 << runner)) !== 0 ? runner : lowest(options);
}

const letter = (pick: number): string =>
  pick < TIMEOUT ? String.fromCharCode(97 + pick) : String.fromCharCode(65 + pick - TIMEOUT);

/**
 * `12b17C`: at step 12 actor b (the second) is granted, at step 17 the time-out of actor c fires;
 * all other picks are the default.
 */
export function encodeSchedule({ length, picks, options }: Trace): string {
  let text = '';
  let previous = DEFAULT;
  for (let step = 0; step < length; step++) {
    const pick = picks[step]!;
    if (pick !== defaultPick(previous, options[step]!)) text += `${step}${letter(pick)}`;
    previous = pick;
  }
  return text;
}

/** The picks of a schedule, DEFAULT where it says nothing. Throws on text that is no schedule. */
export function decodeSchedule(text: string): number[] {
  if (!/^(\d+[a-hA-H])*$/.test(text)) throw new Error(`${text} is no schedule`);
  const picks: number[] = [];
  for (const [, step, who] of text.matchAll(/(\d+)([a-hA-H])/g)) {
    while (picks.length < Number(step)) picks.push(DEFAULT);
    const code = who!.charCodeAt(0);
    picks.push(code >= 97 ? code - 97 : TIMEOUT + code - 65);
  }
  return picks;
}
