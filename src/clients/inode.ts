// What belongs to a file itself and not to its name: ACLs, extended attributes, labels, flags, its other names. A file
// that is replaced by rename is another one, so all of that is carried over to it before it takes the name, or the plan
// says that it cannot be. Node.js has no calls for any of it; cp and ls of the system have.
import { execFile } from 'node:child_process';
import { constants, type Stats } from 'node:fs';
import { access, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Each needs some milliseconds; a hanging file system must not hold a write for longer than its own deadline. */
const HELPER_MS = 5_000;

export class NotCarriedOver extends Error {
  readonly code = 'NOT_CARRIED';
}

/**
 * Mode, ACL and extended attributes (the label of SELinux is one) of `from` on `to`, whose content stays. GNU's cp does
 * all of that or fails. Where there is only another cp nothing is carried over: `notCarried` has refused a file with
 * an ACL at plan.
 *
 * @throws NotCarriedOver before anything has changed at `from`
 */
export async function carryOver(from: string, to: string, signal: AbortSignal): Promise<void> {
  if (process.platform === 'win32') return;
  const failed = await run('cp', ['--attributes-only', '--preserve=mode,xattr', '--', from, to], signal);
  if (failed === undefined || isOtherCp(failed)) return;
  const why = failed.said.replace(/^cp: /, '').split('\n', 1)[0];
  throw new NotCarriedOver(`its ACL and extended attributes cannot be carried over: ${why || failed.code}`);
}

/** Why `file` would lose something, or could not be replaced, although its folder can be written to. Only looks. */
export async function notCarried(real: string, file: Stats): Promise<string | undefined> {
  const names = file.nlink - (await leftovers(real, file));
  if (names > 1)
    return `${real} has ${names} names (hard links): replaced, the others would go on with the old content. Make it a file of its own, or name the one file that is read`;
  try {
    await access(real, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // EACCES says nothing: what counts for a replace is the folder
    if (code === 'EPERM') return `${real} is immutable (lsattr shows it; chattr -i takes it off)`;
    if (code === 'EROFS') return `${real} is on a file system that is mounted read-only`;
  }
  if (process.platform === 'win32') return undefined;
  const cp = await run('cp', ['--version']);
  if (cp === undefined || (process.platform === 'linux' && !isOtherCp(cp))) return undefined;
  return (await hasMore(real))
    ? `${real} has an ACL or extended attributes, and the cp of this system cannot carry them over: install coreutils, or take them off`
    : undefined;
}

/** Our own: a link that a process which died left behind. */
async function leftovers(real: string, file: Stats): Promise<number> {
  if (file.nlink < 2) return 0;
  const folder = dirname(real);
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(`.maint.${basename(real)}.`));
  const seen = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return seen.filter((other) => other?.ino === file.ino && other.dev === file.dev).length;
}

/** `-rw-r--r--+` or `@`: as ls of GNU, BSD and macOS say it. */
async function hasMore(real: string): Promise<boolean> {
  let listed = '';
  const failed = await run('ls', ['-ld', '--', real], undefined, (text) => {
    listed = text;
  });
  return failed === undefined && /^\S{10}[+@]/.test(listed);
}

interface Failed {
  code: string | number;
  said: string;
}

/** Not there, or without these options: of BusyBox, BSD or macOS. */
function isOtherCp({ code, said }: Failed): boolean {
  return code === 'ENOENT' || /usage|(unrecognized|illegal|invalid|unknown) option|unexpected argument/i.test(said);
}

/** undefined: it did it. */
async function run(
  program: string,
  argv: readonly string[],
  signal?: AbortSignal,
  out: (text: string) => void = () => undefined,
): Promise<Failed | undefined> {
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' };
  return await new Promise((resolve) => {
    execFile(program, [...argv], { env, timeout: HELPER_MS, signal }, (error, stdout, stderr) => {
      out(stdout);
      if (error === null) return resolve(undefined);
      // Node.js puts the exit code where a system's error has its name
      const { code, killed } = error as { code?: string | number; killed?: boolean };
      resolve({ code: code ?? (killed ? 'it took too long' : error.message), said: stderr });
    });
  });
}
