// What belongs to a file and not to its name stays when it is replaced, or the plan refuses. A tar sets and reads what
// Node.js has no calls for.
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { carryOver } from '../../../src/clients/inode.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

const bytes = (text: string) => Buffer.from(text);
const isRoot = process.getuid?.() === 0;
/** the owner writes, uid 33 reads, nobody else */
const ACL = 'user::rw-,user:33:r--,group::---,mask::r--,other::---';

let folder: string;
let path: string;
let io: TestClients;
let PATH: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-test-inode-'));
  chmodSync(folder, 0o755);
  path = join(folder, 'flag.json');
  io = testClients();
  PATH = process.env['PATH'];
});
afterEach(() => {
  process.env['PATH'] = PATH;
  rmSync(folder, { recursive: true, force: true });
});

/** A pax archive of one file: tar(1) unpacks its ACL and its extended attributes. */
function unpack(content: string, more: Record<string, string>): void {
  const block = (text: Buffer) => Buffer.concat([text, Buffer.alloc((512 - (text.length % 512)) % 512)]);
  const header = (name: string, type: string, size: number) => {
    const made = Buffer.alloc(512);
    const put = (at: number, text: string) => made.write(text, at, 'latin1');
    put(0, name);
    put(100, '0000640\0');
    put(124, `${size.toString(8).padStart(11, '0')}\0`);
    put(136, '00000000000\0');
    put(148, '        ');
    put(156, type);
    put(257, 'ustar\0' + '00');
    const sum = made.reduce((all, byte) => all + byte, 0);
    put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
    return made;
  };
  const record = (key: string, value: string) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (String(length).length + rest !== length) length = String(length).length + rest;
    return `${length} ${key}=${value}\n`;
  };
  const records = bytes(
    Object.entries(more)
      .map(([key, value]) => record(key, value))
      .join(''),
  );
  const archive = Buffer.concat([
    ...(records.length > 0 ? [header('pax', 'x', records.length), block(records)] : []),
    header('flag.json', '0', Buffer.byteLength(content)),
    block(bytes(content)),
    Buffer.alloc(1024),
  ]);
  execFileSync('tar', ['-xf', '-', '--acls', '--xattrs', '--xattrs-include=*', '-C', folder], { input: archive });
}
/** The ACL and the attributes, as tar packs them. */
function more(): string[] {
  const archive = execFileSync('tar', ['-cf', '-', '--acls', '--xattrs', '-C', folder, 'flag.json'], {
    encoding: 'latin1',
  });
  return [
    ...archive.matchAll(/SCHILY\.(?:acl\.access|xattr\.user\.\w+)=[^\n]*(?:\n(?:user|group|mask|other):[^\n]*)*/g),
  ].map(([text]) => text.replaceAll('\n', ','));
}
function replaced(content: string) {
  const { files } = io.writer();
  return files.read(path).then((seen) => files.replace(path, seen, bytes(content)));
}

test.each([
  ['an ACL', { 'SCHILY.acl.access': ACL }],
  ['an extended attribute', { 'SCHILY.xattr.user.note': 'of somebody' }],
  ['both', { 'SCHILY.acl.access': ACL, 'SCHILY.xattr.user.note': 'of somebody' }],
])('%s is there after a file was replaced, and after it was replaced back', async (_name, given) => {
  unpack('one', given);
  const before = more();
  expect(before).toHaveLength(Object.keys(given).length);
  const { mode } = statSync(path);
  for (const content of ['a longer two', 'one']) {
    expect(await io.writer().files.replaceable(path)).toBeUndefined();
    expect((await replaced(content))?.content.toString()).toBe(content);
    expect(more()).toEqual(before);
    expect(statSync(path).mode).toBe(mode);
    // a read-back by root proves nothing for the guard's user
    if (isRoot && 'SCHILY.acl.access' in given)
      expect(execFileSync('cat', [path], { uid: 33, gid: 33, encoding: 'utf8' })).toBe(content);
  }
});

test('a file without anything of the kind is replaced as ever', async () => {
  unpack('one', {});
  await replaced('two');
  expect(more()).toEqual([]);
  expect(readFileSync(path, 'utf8')).toBe('two');
});

test('a second name of the file is refused at plan; our own that a crash left behind is not one', async () => {
  writeFileSync(path, 'one');
  linkSync(path, join(folder, '.maint.flag.json.tmp.0123456789ab'));
  expect(await io.writer().files.replaceable(path)).toBeUndefined();
  linkSync(path, join(folder, 'other.json'));
  expect(await io.writer().files.replaceable(path)).toMatch(/has 2 names \(hard links\)/);
  // the end does not ask: somebody's backup by hard links must not keep a wall closed
  await replaced('two');
  expect(readFileSync(path, 'utf8')).toBe('two');
});

/** Before the system's own in PATH. */
function program(name: string, script: string): void {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  process.env['PATH'] = `${bin}:${PATH}`;
}

test('a cp that cannot carry over: a file with an ACL is refused at plan, another one is replaced', async () => {
  program('cp', 'echo "cp: unrecognized option: attributes-only" >&2; exit 1');
  unpack('one', {});
  expect(await io.writer().files.replaceable(path)).toBeUndefined();
  await replaced('two');
  expect(readFileSync(path, 'utf8')).toBe('two');
  unpack('one', { 'SCHILY.acl.access': ACL });
  expect(await io.writer().files.replaceable(path)).toMatch(/has an ACL .* install coreutils/);
});

test('a cp that fails changes nothing, and is not tried again', async () => {
  program('cp', 'echo "cp: setting attribute: Operation not permitted" >&2; exit 1');
  writeFileSync(path, 'one');
  expect(await failure(replaced('two'))).toMatchObject({
    effect: 'none',
    retryable: false,
    code: 'NOT_CARRIED',
    message: `${path}: its ACL and extended attributes cannot be carried over: setting attribute: Operation not permitted`,
  });
  expect(readFileSync(path, 'utf8')).toBe('one');
});

test('who is interrupted does not wait for it', async () => {
  program('cp', 'exec sleep 60');
  writeFileSync(path, 'one');
  writeFileSync(join(folder, 'two'), 'two');
  const stop = new AbortController();
  const carried = carryOver(path, join(folder, 'two'), stop.signal);
  stop.abort();
  await expect(carried).rejects.toThrow('cannot be carried over');
});

test('an immutable file is named at plan', async () => {
  writeFileSync(path, 'one');
  if (!isRoot || !canChattr('+i')) return void expect(await io.writer().files.replaceable(path)).toBeUndefined();
  expect(await io.writer().files.replaceable(path)).toMatch(/is immutable/);
  expect(canChattr('-i')).toBe(true);
});
function canChattr(flag: string): boolean {
  try {
    execFileSync('chattr', [flag, path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
