import { describe, expect, it } from 'vitest';

import { nodeEnv } from '../../platform/node-env.ts';

const tunables = ({ GLIBC_TUNABLES }: NodeJS.ProcessEnv): string | undefined => GLIBC_TUNABLES;

describe('the environment of a node that is to start soon', () => {
  it('has all of ours but extra certificates', () => {
    const env = nodeEnv({ PATH: '/bin', NODE_EXTRA_CA_CERTS: '/certs', NODE_OPTIONS: '--trace-gc' });
    expect(env).toMatchObject({ PATH: '/bin', NODE_OPTIONS: '--trace-gc' });
    expect(env).not.toHaveProperty('NODE_EXTRA_CA_CERTS');
  });

  it('lets malloc use huge pages, after any number of updates alike', () => {
    const first = nodeEnv({});
    expect(tunables(first)).toContain('glibc.malloc.hugetlb=1');
    expect(nodeEnv(nodeEnv(first))).toEqual(first);
  });

  it("leaves the user's own setting alone, after any number of updates, too", () => {
    const users = { GLIBC_TUNABLES: 'glibc.malloc.check=3' };
    expect(nodeEnv(nodeEnv(users))).toEqual(users);
    expect(nodeEnv({ GLIBC_TUNABLES: '' })).toEqual({ GLIBC_TUNABLES: '' });
  });

  it('replaces what another build of livevmm has set', () => {
    const earlier = { GLIBC_TUNABLES: 'glibc.malloc.arena_max=2', LIVEVMM_TUNABLES: 'glibc.malloc.arena_max=2' };
    expect(nodeEnv(earlier)).toEqual(nodeEnv({}));
  });

  it("takes what the user has set since for the user's", () => {
    const changed = { ...nodeEnv({}), GLIBC_TUNABLES: 'glibc.malloc.check=3' };
    expect(tunables(nodeEnv(changed))).toBe('glibc.malloc.check=3');
  });
});
