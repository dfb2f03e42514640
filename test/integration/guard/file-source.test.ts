import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createGuard, fileSource, type Guard } from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

const ON = JSON.stringify({ version: 1, holders: { 'w-1': {} } });
const OFF = JSON.stringify({ version: 1, holders: {} });

let folder: string;
let path: string;
let guards: Guard[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'guard-file-'));
  path = join(folder, 'flag.json');
  guards = [];
});
afterEach(async () => {
  await Promise.all(guards.map((guard) => guard.close()));
  rmSync(folder, { recursive: true, force: true });
});

function guardOf(pollMs: number, file = path): Guard {
  const guard = createGuard({ source: fileSource(file, { pollMs }), log: () => {} });
  guards.push(guard);
  return guard;
}

function put(text: string, file = path): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

test('from an atomic rename to the first refusal, heard by watching alone', async () => {
  put(OFF);
  // An interval so long that it cannot be what is measured.
  const guard = guardOf(3_600_000);
  const server = createServer(guard.http((_req, res) => res.end('written')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/items`;
  const status = async () => {
    const answer = await fetch(url, { method: 'POST' });
    await answer.text();
    return answer.status;
  };
  const taken: number[] = [];
  try {
    for (let turn = 0; turn < 20; turn += 1) {
      const from = performance.now();
      put(ON);
      await until(async () => (await status()) === 503);
      taken.push(performance.now() - from);
      put(OFF);
      await until(async () => (await status()) === 200);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
  taken.sort((a, b) => a - b);
  console.log(`rename to first refusal: median ${taken[10]?.toFixed(1)} ms, most ${taken[19]?.toFixed(1)} ms, of 20`);
  expect(taken[10]).toBeLessThan(500);
});

test('the state is known at once, without waiting', () => {
  put(ON);
  expect(guardOf(60_000).readOnly()).toBe(true);
});

test('no file is read-write; created, removed and created again', async () => {
  const guard = guardOf(60_000);
  expect(await guard.ready()).toBe('source');
  expect(guard.readOnly()).toBe(false);
  for (let turn = 0; turn < 3; turn += 1) {
    put(ON);
    await until(() => guard.readOnly());
    unlinkSync(path);
    await until(() => !guard.readOnly());
  }
});

test('the interval alone finds the change where watching is silent', async () => {
  // A link's folder is watched, but not the folder where the change happens.
  const real = join(folder, 'elsewhere');
  mkdirSync(real);
  mkdirSync(join(folder, 'watched'));
  put(OFF, join(real, 'flag.json'));
  const link = join(folder, 'watched', 'flag.json');
  symlinkSync(join(real, 'flag.json'), link);
  const guard = guardOf(20, link);
  put(ON, join(real, 'flag.json'));
  await until(() => guard.readOnly());
});

test('a folder that disappears does not open the writes; it is watched again when it is back', async () => {
  put(ON);
  const intervalMs = 500;
  const guard = guardOf(intervalMs);
  rmSync(folder, { recursive: true });
  await until(() => guard.counts().errors.source > 0);
  expect(guard.readOnly()).toBe(true);
  mkdirSync(folder);
  put(OFF);
  await until(() => !guard.readOnly());
  const from = performance.now();
  for (let turn = 0; turn < 10; turn += 1) {
    put(turn % 2 === 0 ? ON : OFF);
    await until(() => guard.readOnly() === (turn % 2 === 0));
  }
  // The interval alone would take nine of them at least.
  expect(performance.now() - from).toBeLessThan(5 * intervalMs);
});

test('a file written in place, seen half written, keeps the state until it is whole', async () => {
  put(ON);
  const guard = guardOf(20);
  writeFileSync(path, OFF.slice(0, 12));
  await until(() => guard.counts().errors.document > 0);
  expect(guard.readOnly()).toBe(true);
  writeFileSync(path, OFF);
  await until(() => !guard.readOnly());
});

/** Ways in which a file is not there that are no end of a window. `break` is what happens, `mend` puts a document in place. */
const LOST: Readonly<Record<string, () => { at: string; break(): void; mend(): void }>> = {
  'a link that leads nowhere': () => {
    mkdirSync(join(folder, 'real'));
    put(ON, join(folder, 'real', 'flag.json'));
    symlinkSync(join('real', 'flag.json'), path);
    return {
      at: path,
      break: () => renameSync(join(folder, 'real'), join(folder, 'other')),
      mend: () => put(OFF),
    };
  },
  'a link that was turned to a folder without the file': () => {
    mkdirSync(join(folder, '1'));
    mkdirSync(join(folder, '2'));
    put(ON, join(folder, '1', 'flag.json'));
    const current = join(folder, 'current');
    symlinkSync('1', current);
    return {
      at: join(current, 'flag.json'),
      break() {
        symlinkSync('2', `${current}.new`);
        renameSync(`${current}.new`, current);
      },
      mend: () => put(OFF, join(folder, '2', 'flag.json')),
    };
  },
  'a ConfigMap without its ..data': () => {
    mkdirSync(join(folder, '..1'));
    put(ON, join(folder, '..1', 'flag.json'));
    symlinkSync('..1', join(folder, '..data'));
    symlinkSync(join('..data', 'flag.json'), path);
    return {
      at: path,
      break: () => unlinkSync(join(folder, '..data')),
      mend: () => put(OFF),
    };
  },
  'a file in place of the folder': () => {
    const inner = join(folder, 'inner');
    mkdirSync(inner);
    put(ON, join(inner, 'flag.json'));
    return {
      at: join(inner, 'flag.json'),
      break() {
        rmSync(inner, { recursive: true });
        writeFileSync(inner, 'no folder');
      },
      mend() {
        unlinkSync(inner);
        mkdirSync(inner);
        put(OFF, join(inner, 'flag.json'));
      },
    };
  },
  'another folder in place of the folder': () => {
    const inner = join(folder, 'inner');
    mkdirSync(inner);
    put(ON, join(inner, 'flag.json'));
    return {
      at: join(inner, 'flag.json'),
      break() {
        mkdirSync(join(folder, 'empty'));
        renameSync(inner, join(folder, 'gone'));
        renameSync(join(folder, 'empty'), inner);
      },
      mend: () => put(OFF, join(inner, 'flag.json')),
    };
  },
  'a FIFO in its place': () => {
    put(ON);
    return {
      at: path,
      break() {
        unlinkSync(path);
        execFileSync('mkfifo', [path]);
      },
      mend: () => put(OFF),
    };
  },
  'a folder in its place': () => {
    put(ON);
    return {
      at: path,
      break() {
        mkdirSync(`${path}.d`);
        unlinkSync(path);
        renameSync(`${path}.d`, path);
      },
      mend() {
        rmSync(path, { recursive: true });
        put(OFF);
      },
    };
  },
  'a device in its place': () => {
    put(ON);
    return {
      at: path,
      break() {
        symlinkSync('/dev/zero', `${path}.new`);
        renameSync(`${path}.new`, path);
      },
      mend: () => put(OFF),
    };
  },
  'more than 1 MiB': () => {
    put(ON);
    return {
      at: path,
      break: () => put(JSON.stringify({ version: 1, holders: {}, x: 'x'.repeat(2 * 1024 * 1024) })),
      mend: () => put(OFF),
    };
  },
};

test.each(Object.keys(LOST))('%s keeps the writes refused, counts, and a document ends it', async (kind) => {
  const trouble = LOST[kind]!();
  const guard = guardOf(10, trouble.at);
  expect(await guard.ready()).toBe('source');
  await settled(guard);
  trouble.break();
  // A moment between two steps of the trouble may count as well, so more than one look is waited for.
  const { source } = guard.counts().errors;
  await until(() => guard.counts().errors.source > source + 2);
  expect(guard.readOnly()).toBe(true);
  trouble.mend();
  await until(() => !guard.readOnly());
});

test.each(['a FIFO', 'a folder', 'a link that leads nowhere'])('%s at the start: nothing is known', async (kind) => {
  if (kind === 'a FIFO') execFileSync('mkfifo', [path]);
  else if (kind === 'a folder') mkdirSync(path);
  else symlinkSync(join('nowhere', 'flag.json'), path);
  const guard = createGuard({
    source: fileSource(path, { pollMs: 10 }),
    onUnknown: 'refuse',
    readyTimeoutMs: 50,
    log: () => {},
  });
  guards.push(guard);
  expect(await guard.ready()).toBe('unknown');
  expect(guard.readOnly()).toBe(true);
});

test('the end of a window takes the file away behind a link, and a key out of a ConfigMap', async () => {
  mkdirSync(join(folder, 'real'));
  put(ON, join(folder, 'real', 'flag.json'));
  symlinkSync(join('real', 'flag.json'), path);
  const linked = guardOf(10);
  await settled(linked);
  unlinkSync(join(folder, 'real', 'flag.json'));
  await until(() => !linked.readOnly());

  const key = join(folder, 'key.json');
  mkdirSync(join(folder, '..1'));
  put(ON, join(folder, '..1', 'key.json'));
  symlinkSync('..1', join(folder, '..data'));
  symlinkSync(join('..data', 'key.json'), key);
  const mapped = guardOf(10, key);
  await settled(mapped);
  mkdirSync(join(folder, '..2'));
  symlinkSync('..2', join(folder, '..data.new'));
  renameSync(join(folder, '..data.new'), join(folder, '..data'));
  expect(mapped.readOnly()).toBe(true);
  unlinkSync(key);
  await until(() => !mapped.readOnly());
});

/** A whole look was made, so the folder is known. */
async function settled(guard: Guard): Promise<void> {
  let age = guard.counts().flagAgeMs ?? 0;
  await until(() => {
    const before = age;
    age = guard.counts().flagAgeMs ?? 0;
    return age < before;
  });
}
