// The flag in a file of this machine (or of a volume that services mount): replaced atomically, under a lock.
import { dirname } from 'node:path';
import { z } from 'zod';
import { Unknown } from '../../engine/contract.ts';
import type { FileSeen, Reader } from '../../engine/io.ts';
import { path } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { defineFlag } from './flag.ts';

export const FileFlagParams = z.strictObject({
  path: path('the flag document; its folder must be there'),
});
export type FileFlagParams = z.infer<typeof FileFlagParams>;

export const flagFile = defineFlag<FileFlagParams, FileSeen | null>({
  name: 'flag/file',
  summary: 'our holder in the read-only flag, a JSON file that guards read',
  Params: FileFlagParams,
  example: { path: '/run/app/read-only.json' },
  address: ({ path }) => `file ${path}`,
  // a write ends with the process that made it
  local: true,

  async read(io, { path }) {
    const seen = await io.files.read(path);
    if (seen) {
      const text = textOf(seen.content);
      return text === undefined
        ? new Unknown(`file ${path} is no flag document: it is no UTF-8 text`)
        : { text, version: seen };
    }
    // A volume that is not mounted is no flag that is off: guards say so, too.
    if (await isThere(io, dirname(path))) return { text: null, version: null };
    return new Unknown(
      `file ${path}: its folder ${dirname(path)} is not there; create it, or mount it, or correct path`,
    );
  },

  async replace(io, { path }, seen, text) {
    // a new file ends as text files do
    const content = text === null ? null : Buffer.from(seen.text === null ? `${text}\n` : text);
    await io.files.replace(path, seen.version, content);
  },

  asks: 'read, access(2), mountinfo',
  async allowed(io, { path }) {
    const why = await io.files.replaceable(path);
    return why === undefined ? [] : [why];
  },
});

async function isThere(io: Reader, folder: string): Promise<boolean> {
  try {
    return (await io.files.list(folder)) !== null;
  } catch (error) {
    // it may be entered, and not listed
    if (error instanceof OuterError && error.code === 'EACCES') return true;
    throw error;
  }
}

function textOf(content: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return undefined;
  }
}
