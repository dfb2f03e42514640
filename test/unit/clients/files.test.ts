import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { thisProcess } from '../../../src/clients/process.ts';
import { Stale } from '../../../src/engine/contract.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

const bytes = (text: string) => Buffer.from(text);

describe('the files client', () => {
  let folder: string;
  let path: string;
  let io: TestClients;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-test-files-'));
    path = join(folder, 'flag.json');
    io = testClients();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('creates, replaces, removes; leaves nothing else behind', async () => {
    const { files } = io.writer();
    expect(await files.read(path)).toBeNull();
    const one = await files.replace(path, null, bytes('one'));
    expect(one).toMatchObject({ content: bytes('one'), mode: 0o644 });
    const two = await files.replace(path, one, bytes('two'));
    expect(two).toEqual(await files.read(path));
    expect(two?.version).not.toBe(one?.version);
    expect(readdirSync(folder)).toEqual(['flag.json']);
    expect(await files.list(folder)).toEqual(['flag.json']);
    expect(await files.replace(path, two, null)).toBeNull();
    expect(await files.replace(path, null, null)).toBeNull();
    expect(readdirSync(folder)).toEqual([]);
    expect(io.calls.slice(0, 2)).toEqual(['before file replace', 'after file replace']);
  });

  test('anything else there now is stale, and stays', async () => {
    const { files } = io.writer();
    const one = await files.replace(path, null, bytes('one'));
    await expect(files.replace(path, null, bytes('x'))).rejects.toThrow(Stale);
    writeFileSync(path, 'two');
    await expect(files.replace(path, one, bytes('x'))).rejects.toThrow(Stale);
    await expect(files.replace(path, one, null)).rejects.toThrow(Stale);
    expect(readFileSync(path, 'utf8')).toBe('two');
    rmSync(path);
    await expect(files.replace(path, one, bytes('x'))).rejects.toThrow(Stale);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('the version changes with a second write within the same tick', async () => {
    writeFileSync(path, 'aa');
    const at = new Date();
    utimesSync(path, at, at);
    const one = await io.reader().files.read(path);
    writeFileSync(path, 'bb');
    utimesSync(path, at, at);
    expect((await io.reader().files.read(path))?.version).not.toBe(one?.version);
  });

  test('mode and owner stay', async () => {
    writeFileSync(path, 'one');
    chmodSync(path, 0o2640);
    const root = process.getuid?.() === 0;
    if (root) chownSync(path, 65_534, 65_534);
    chmodSync(path, 0o4640);
    const { files } = io.writer();
    await files.replace(path, await files.read(path), bytes('two'));
    const { mode, uid } = statSync(path);
    expect((mode & 0o7777).toString(8)).toBe('4640');
    expect(uid).toBe(root ? 65_534 : process.getuid?.());
  });

  test('a link stays a link, also where it points to nothing yet', async () => {
    const link = join(folder, 'link');
    await mkdir(join(folder, 'real'));
    symlinkSync('real/file', link);
    const { files } = io.writer();
    const one = await files.replace(link, null, bytes('one'));
    await files.replace(link, one, bytes('two'));
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(folder, 'real', 'file'), 'utf8')).toBe('two');
    expect(readdirSync(join(folder, 'real'))).toEqual(['file']);
    symlinkSync('round', join(folder, 'round'));
    expect(await failure(files.replace(join(folder, 'round'), null, bytes('')))).toMatchObject({ code: 'ELOOP' });
  });

  test('ten at once: one of each round wins, the others are stale', async () => {
    writeFileSync(path, '0');
    const from = await io.reader().files.read(path);
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => io.writer().files.replace(path, from, bytes(`${n}`))),
    );
    expect(results.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
    for (const each of results) if (each.status === 'rejected') expect(each.reason).toBeInstanceOf(Stale);
    const created = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => io.writer().files.replace(`${path}2`, null, bytes(`${n}`))),
    );
    expect(created.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(['flag.json', 'flag.json2']);
  });

  test('a dead process’ lock and temporary files are removed, by one only', async () => {
    const lock = join(folder, '.maint.flag.json.lock');
    const dead = spawn('true');
    const { pid } = dead;
    await new Promise((done) => dead.once('exit', done));
    writeFileSync(lock, JSON.stringify({ ...thisProcess(), pid, startTime: '1', id: 'abc' }));
    writeFileSync(join(folder, '.maint.flag.json.tmp.123'), 'half');
    writeFileSync(join(folder, '.maint..maint.flag.json.lock.mine.1'), readFileSync(lock));
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) => io.writer().files.replace(path, null, bytes(`${n}`))),
    );
    expect(results.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(['flag.json']);
  });

  test('a pid that now belongs to another process does not keep a lock', async () => {
    const lock = join(folder, '.maint.flag.json.lock');
    writeFileSync(lock, JSON.stringify({ ...thisProcess(), startTime: '1', id: 'abc' }));
    await io.writer().files.replace(path, null, bytes('x'));
    expect(readdirSync(folder)).toEqual(['flag.json']);
  });

  test('a living one’s is waited for, and named', async () => {
    const lock = join(folder, '.maint.flag.json.lock');
    writeFileSync(lock, JSON.stringify({ ...thisProcess(), id: 'abc' }));
    const waiting = io.writer().files.replace(path, null, bytes('x'));
    const gaveUp = await failure(io.writer({ ms: 100 }).files.replace(path, null, bytes('x')));
    expect(gaveUp).toMatchObject({ effect: 'none', retryable: true, code: 'LOCKED' });
    expect(gaveUp['message']).toContain(`pid ${process.pid}`);
    rmSync(lock);
    expect(await waiting).toMatchObject({ content: bytes('x') });
    expect(readdirSync(folder)).toEqual(['flag.json']);
  });

  test('another machine’s lock counts until no write can be that old', async () => {
    const lock = join(folder, '.maint.flag.json.lock');
    writeFileSync(lock, JSON.stringify({ ...thisProcess(), host: 'elsewhere', id: 'abc' }));
    expect(await failure(io.writer({ ms: 50 }).files.replace(path, null, bytes('x')))).toMatchObject({
      code: 'LOCKED',
    });
    const old = new Date(Date.now() - 120_000);
    utimesSync(lock, old, old);
    await io.writer().files.replace(path, null, bytes('x'));
    expect(readdirSync(folder)).toEqual(['flag.json']);
  });

  test('nobody who has a lock writes later than a write may take: watched for longer it is taken, and stays the taker’s', async () => {
    const lock = join(folder, '.maint.flag.json.lock');
    const theirs = () => writeFileSync(lock, JSON.stringify({ ...thisProcess(), id: 'abd' }));
    theirs();
    const blocked = io.writer({ ms: 50 }).files.replace(path, null, bytes('x'));
    expect(await failure(blocked)).toMatchObject({ code: 'LOCKED' });
    const now = performance.now.bind(performance);
    const later = jest.spyOn(performance, 'now').mockImplementation(() => now() + 12_000);
    try {
      await io.writer({ ms: 20_000 }).files.replace(path, null, bytes('x'));
    } finally {
      later.mockRestore();
    }
    expect(readdirSync(folder)).toEqual(['flag.json']);

    // and the one that was away for so long does not take away a lock that is another one's by now
    const seen = await io.reader().files.read(path);
    const slow = io.writer({ hooks: { awake: theirs } });
    await slow.files.replace(path, seen, bytes('y'));
    expect(readdirSync(folder)).toEqual(['.maint.flag.json.lock', 'flag.json']);
  });

  test.each([
    ['created', null, 'x'],
    ['replaced', 'one', 'x'],
    ['removed', 'one', null],
  ])('asleep after it had the lock, or later than its deadline: nothing is %s', async (_, there, content) => {
    if (there !== null) writeFileSync(path, there);
    const before = await io.reader().files.read(path);
    const names = readdirSync(folder);
    const to = content === null ? null : bytes(content);
    const awake = () => {
      expect(readdirSync(folder)).toContain('.maint.flag.json.lock');
      throw new OuterError('this machine has slept', { effect: 'none', retryable: true });
    };
    const slept = io.writer({ hooks: { awake } }).files.replace(path, before, to);
    expect(await failure(slept)).toMatchObject({ effect: 'none', retryable: true });

    const now = performance.now.bind(performance);
    const mocked = jest.spyOn(performance, 'now');
    const stopped = () => void mocked.mockImplementation(() => now() + 6_000);
    try {
      const late = io.writer({ ms: 5_000, hooks: { awake: stopped } }).files.replace(path, before, to);
      expect(await failure(late)).toMatchObject({ effect: 'none', code: 'ETIMEDOUT' });
    } finally {
      mocked.mockRestore();
    }
    expect(readdirSync(folder)).toEqual(names);
    expect(await io.reader().files.read(path)).toEqual(before);
  });

  test('what cannot be read or written says why', async () => {
    const { files } = io.writer();
    expect(await failure(files.read(folder))).toMatchObject({ code: 'EISDIR', effect: 'none', retryable: false });
    expect(await files.list(join(folder, 'no'))).toBeNull();
    expect(await failure(files.replace(join(folder, 'no', 'x'), null, bytes('')))).toEqual({
      message: `${join(folder, 'no', 'x')}: the folder is not there`,
      effect: 'none',
      retryable: false,
      code: 'ENOENT',
    });
    expect(await files.replaceable(path)).toBeUndefined();
    expect(await files.replaceable(join(folder, 'no', 'x'))).toMatch(/is not there/);
    expect(await files.replaceable(folder)).toMatch(/not a regular file/);
    if (process.platform === 'linux') {
      expect(await failure(files.replace('/proc/none', null, bytes('')))).toMatchObject({ effect: 'none' });
    }
  });
});
