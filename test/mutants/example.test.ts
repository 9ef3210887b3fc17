/**
 * What mutants.test.ts lets see defects of example.ts, or not. These words are no test's name:
 * nothing is called so.
 */
import { expect, it } from 'vitest';

import { next } from './example.ts';

it('counts up', () => expect(next(1)).toBe(2));
