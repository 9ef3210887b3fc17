import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { haltAndStop } from './device-loop.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const mutants = {
  sleepsOnTheLastRing: {
    name: 'sleeps-on-the-last-ring',
    file: 'devices/kit/loop.ts',
    find: 'this.#server.wait(this.#seen,',
    replace: 'this.#server.wait(this.#server.bell(),',
  },
  ringBeforeTheHalt: {
    name: 'ring-before-the-halt',
    file: 'devices/kit/control.ts',
    find: '    Atomics.store(this.#words, Control.word.halt, on ? 1 : 0);\n    ringBell(mailbox);\n',
    replace: '    ringBell(mailbox);\n    Atomics.store(this.#words, Control.word.halt, on ? 1 : 0);\n',
  },
  haltBeforeTheRing: {
    name: 'halt-looked-at-before-the-ring',
    file: 'devices/kit/loop.ts',
    find: `    const rung = this.#server.bell(); // before looking at what it may stand for
    if (rung !== this.#seen) {
      this.#seen = rung;
      pollMemory();
      this.#serve();
    } else if (pages.serve(endpoint)) {
      this.#attention.accessed();
    }
    if (control.halting()) {
`,
    replace: `    const halting = control.halting();
    const rung = this.#server.bell();
    if (rung !== this.#seen) {
      this.#seen = rung;
      pollMemory();
      this.#serve();
    } else if (pages.serve(endpoint)) {
      this.#attention.accessed();
    }
    if (halting) {
`,
  },
} as const satisfies Record<string, Mutant>;

describe("a device worker's loop", () => {
  it('answers, halts, goes on and stops, and loses no ring', () => holds(haltAndStop, { preemptions: 1 }));
  it('does so in random schedules', () => holds(haltAndStop, { seed: 1, executions: 500 }));
});

describe('seeded bugs of the loop', () => {
  it.each([
    { mutant: mutants.sleepsOnTheLastRing, scenario: haltAndStop, kind: 'deadlock' },
    { mutant: mutants.ringBeforeTheHalt, scenario: haltAndStop, kind: 'deadlock' },
    { mutant: mutants.haltBeforeTheRing, scenario: haltAndStop, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
