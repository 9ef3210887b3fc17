/** A whole host in the process of the tests, which are its clients. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';

import { Board } from '../../../devices/board/board.ts';
import type { BoardOptions } from '../../../devices/board/board-options.ts';
import { TestClient } from './test-client.ts';

export class TestHost {
  readonly #options: BoardOptions;
  readonly #clients: TestClient[] = [];
  #folder = '';
  #board: Board | undefined;

  constructor(options: BoardOptions) {
    this.#options = options;
  }

  /** A path for the socket of another host. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  get socketPath(): string {
    return this.path('host');
  }

  get board(): Board {
    if (!this.#board) throw new Error('the host is not started');
    return this.#board;
  }

  async start(): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'test-host-'));
    this.#board = await Board.start({ ...this.#options, socketPath: this.socketPath });
  }

  /** A client until the end of the test. */
  async connect(socketPath = this.socketPath): Promise<TestClient> {
    const client = await TestClient.connect(socketPath);
    this.#clients.push(client);
    return client;
  }

  async disconnectAll(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.disconnect();
  }

  async stop(): Promise<void> {
    await this.#board?.stop();
    rmSync(this.#folder, { recursive: true });
  }
}

/**
 * The host of all tests of a file. Each test's clients are disconnected before the afterEach()
 * hooks that stand above this call.
 */
export function hostOfTests(options: BoardOptions): TestHost {
  const host = new TestHost(options);
  beforeAll(() => host.start());
  afterEach(() => host.disconnectAll());
  afterAll(() => host.stop());
  return host;
}
