import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';

import { type Board, startHost } from '../../../devices/board/host.ts';
import { ClientProcess } from './client-process.ts';

export interface ScriptedClients {
  /** A client that runs to its end, at the latest that of the test. */
  start(...words: readonly string[]): ClientProcess;
  /** The first value that a client says, which then ends. */
  says(...words: readonly string[]): Promise<unknown>;
}

/**
 * Clients that run a script of this folder, on a host that lives as long as the test file. The host
 * has one edu device, 0000:00:04.0, with these properties.
 */
export function scriptedClients(script: string, properties: Readonly<Record<string, string>> = {}): ScriptedClients {
  const clients: ClientProcess[] = [];
  let dir: string;
  let board: Board;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), `livevmm-${script}-`));
    const devices = [{ type: 'edu', properties: { addr: '4', ...properties } }];
    board = await startHost({ devices, socketPath: join(dir, 'host'), firstGroup: 1, kernelRamBytes: 16 << 20 });
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
  });
  afterAll(async () => {
    await board.stop();
    rmSync(dir, { recursive: true });
  });

  const start = (...words: readonly string[]): ClientProcess => {
    const client = new ClientProcess(script, join(dir, 'host'), ...words);
    clients.push(client);
    return client;
  };
  return {
    start,
    async says(...words) {
      const client = start(...words);
      try {
        return await client.says();
      } finally {
        await client.end();
      }
    },
  };
}
