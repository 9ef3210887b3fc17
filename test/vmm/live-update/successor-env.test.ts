import { describe, expect, it } from 'vitest';

import { successorEnv } from '../../../vmm/live-update/successor-env.ts';

const tunables = ({ GLIBC_TUNABLES }: NodeJS.ProcessEnv): string | undefined => GLIBC_TUNABLES;

describe("the successor's environment", () => {
  it("has all of this image's but extra certificates", () => {
    const env = successorEnv({ PATH: '/bin', NODE_EXTRA_CA_CERTS: '/certs', NODE_OPTIONS: '--trace-gc' });
    expect(env).toMatchObject({ PATH: '/bin', NODE_OPTIONS: '--trace-gc' });
    expect(env).not.toHaveProperty('NODE_EXTRA_CA_CERTS');
  });

  it('lets malloc use huge pages, after any number of updates alike', () => {
    const first = successorEnv({});
    expect(tunables(first)).toContain('glibc.malloc.hugetlb=1');
    expect(successorEnv(successorEnv(first))).toEqual(first);
  });

  it("leaves the user's own setting alone, after any number of updates, too", () => {
    const users = { GLIBC_TUNABLES: 'glibc.malloc.check=3' };
    expect(successorEnv(successorEnv(users))).toEqual(users);
    expect(successorEnv({ GLIBC_TUNABLES: '' })).toEqual({ GLIBC_TUNABLES: '' });
  });

  it('replaces what another build of livevmm has set', () => {
    const earlier = { GLIBC_TUNABLES: 'glibc.malloc.arena_max=2', LIVEVMM_TUNABLES: 'glibc.malloc.arena_max=2' };
    expect(successorEnv(earlier)).toEqual(successorEnv({}));
  });

  it("takes what the user has set since for the user's", () => {
    const changed = { ...successorEnv({}), GLIBC_TUNABLES: 'glibc.malloc.check=3' };
    expect(tunables(successorEnv(changed))).toBe('glibc.malloc.check=3');
  });
});
