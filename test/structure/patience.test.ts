import { expect, it, vi } from 'vitest';

it('lets a test wait for more than the second that Vitest waits, and for as long as it says itself', async () => {
  const start = performance.now();
  const waited = (): number => performance.now() - start;
  await expect(vi.waitUntil(() => waited() > 1000, 100)).rejects.toThrow();
  await expect(vi.waitUntil(() => waited() > 1000, { timeout: 100 })).rejects.toThrow();
  await vi.waitUntil(() => waited() > 1500);
  await vi.waitFor(() => expect(waited()).toBeGreaterThan(3000));
});
