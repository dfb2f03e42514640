// A wall clock that steps while a step runs neither ends a call's time nor puts it off.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, jest, test } from '@jest/globals';
import { createClients, createRedactor } from '../../../src/clients/index.ts';
import { monotonicNow } from '../../../src/engine/clock.ts';

const folder = mkdtempSync(join(tmpdir(), 'deadline-'));
afterEach(() => {
  jest.restoreAllMocks();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test.each([3_600_000, -3_600_000])('a step of %i ms', async (ms) => {
  const path = join(folder, 'file');
  const clients = createClients({ redact: createRedactor([]) });
  const reader = (left: number) =>
    clients.reader({ signal: new AbortController().signal, deadline: monotonicNow() + left });
  const before = Date.now();
  jest.spyOn(Date, 'now').mockReturnValue(before + ms);
  expect(await reader(5_000).files.read(path)).toBeNull();
  await expect(reader(-1).exec.read(['true'])).rejects.toThrow('deadline has passed');
  expect((await reader(5_000).exec.read(['true'])).exitCode).toBe(0);
  await clients.close();
});
