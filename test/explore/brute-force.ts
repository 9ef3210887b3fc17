/**
 * A naive enumeration of all outcomes of a program of explorer.scenario.ts. The tests compare the
 * explorer with it.
 */
import type { Instruction, Program } from './explorer.scenario.ts';

interface State {
  readonly words: readonly number[];
  readonly actors: readonly Actor[];
  /** Actors that wait, in order. */
  readonly queue: readonly { readonly actor: number; readonly word: number }[];
}

interface Actor {
  readonly next: number;
  readonly sum: number;
  readonly blocked: boolean;
}

const WORDS = 3;

/** Final words and sums, over every interleaving with at most `preemptions` preemptions. */
export function outcomes(program: Program, preemptions: number): Set<string> {
  const found = new Set<string>();
  const fold = (actor: Actor, result: number): Actor => ({ ...actor, sum: (actor.sum * 7 + result) % 10_007 });

  const visit = (state: State, runner: number, left: number): void => {
    const unfinished = state.actors.map((actor, i) => (actor.blocked || actor.next < program[i]!.length ? i : -1));
    const ready = unfinished.filter((i) => i >= 0 && !state.actors[i]!.blocked);
    if (ready.length === 0) {
      if (state.queue.length === 0) found.add([...state.words, ...state.actors.map(({ sum }) => sum)].join(' '));
      for (const { actor } of state.queue) visit(wake(state, actor, 2), actor, left);
      return;
    }
    for (const actor of ready) {
      const cost = ready.includes(runner) && actor !== runner ? 1 : 0;
      if (cost <= left) visit(step(state, actor, program[actor]![state.actors[actor]!.next]!), actor, left - cost);
    }
  };

  /** A woken actor's wait returns: 0 for ok, 2 for timed-out. */
  const wake = (state: State, who: number, result: number): State => ({
    ...state,
    actors: state.actors.map((actor, i) => (i === who ? fold({ ...actor, blocked: false }, result) : actor)),
    queue: state.queue.filter(({ actor }) => actor !== who),
  });

  const step = (state: State, who: number, [operation, word, operand]: Instruction): State => {
    const value = state.words[word]!;
    const done = (words: readonly number[], result: number, from = state): State => ({
      ...from,
      words,
      actors: from.actors.map((actor, i) => (i === who ? { ...fold(actor, result), next: actor.next + 1 } : actor)),
    });
    const put = (stored: number): readonly number[] => state.words.map((old, i) => (i === word ? stored : old));
    switch (operation) {
      case 'load':
      case 'read':
        return done(state.words, value);
      case 'store':
      case 'write':
        return done(put(operand), operand);
      case 'add':
        return done(put(value + operand), value);
      case 'compareExchange':
        return done(value === operand - 1 ? put(operand) : state.words, value);
      case 'notify': {
        const first = state.queue.find((waiting) => waiting.word === word);
        return first ? done(state.words, 1, wake(state, first.actor, 0)) : done(state.words, 0);
      }
      case 'wait':
        if (value !== 0) return done(state.words, 1);
        return {
          words: state.words,
          actors: state.actors.map((actor, i) =>
            i === who ? { ...actor, next: actor.next + 1, blocked: true } : actor,
          ),
          queue: [...state.queue, { actor: who, word }],
        };
    }
  };

  const start: State = {
    words: Array<number>(WORDS).fill(0),
    actors: program.map(() => ({ next: 0, sum: 0, blocked: false })),
    queue: [],
  };
  visit(start, -1, preemptions);
  return found;
}
