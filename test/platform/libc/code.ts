import { expect } from 'vitest';

import { errnoNumber } from '../../../platform/errno.ts';

/** What a failed call throws, by the name of its errno. */
export const code = (name: string): unknown => expect.objectContaining({ code: name, errno: errnoNumber(name) });
