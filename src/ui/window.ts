// The file of a window that goes to another laptop, and what is said about it.
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { count } from '../engine/words.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint, there } from '../errors/next.ts';
import type { WindowFile } from '../runbook/window-file.ts';
import { type Line, nextLine } from './next.ts';

/** Made empty at once, so that nothing is handed over to a place that takes no file; gone again where nothing was written. */
export function reserveFile(path: string, shown: string): { write(text: string): void; close(): void } {
  const failed = (error: unknown): MaintError => {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'EEXIST'
        ? 'it is there already'
        : code === 'ENOENT' || code === 'ENOTDIR'
          ? 'its folder is not there'
          : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
            ? 'it may not be written'
            : String(code);
    return new MaintError('E_NO_FILE', `${JSON.stringify(shown)} was not written: ${why}.`, {
      next: [
        advice('another file: --output'),
        advice('handed over already? the same command writes the file once more'),
      ],
      cause: error,
    });
  };
  let file: number;
  try {
    // Only its owner reads it: what runs where is nobody else's business.
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    throw failed(error);
  }
  let written = false;
  return {
    write(text) {
      try {
        for (let bytes = Buffer.from(text); bytes.length > 0; ) bytes = bytes.subarray(writeSync(file, bytes));
        fsyncSync(file);
        written = true;
      } catch (error) {
        throw failed(error);
      }
    },
    close() {
      closeSync(file);
      if (!written) rmSync(path, { force: true });
    },
  };
}

export function exportedJson(file: WindowFile, path: string, flag: boolean): Record<string, unknown> {
  const { window, environment, live, copy, events } = file;
  return {
    ok: true,
    exit: 0,
    verb: 'window export',
    environment,
    window,
    output: path,
    handedOver: live && !copy,
    flag,
    events: events.length,
  };
}

export function exportedLines(file: WindowFile, path: string, flag: boolean): Line[] {
  const { window, environment, live, copy, events } = file;
  const what = `${environment}: ${window} (${count(events.length, 'event')})`;
  if (live && copy)
    return [`${what} is copied to ${path}, for reading. This state goes on acting on it.`, nextLine(maint('status'))];
  if (!live)
    return [
      `${what} is copied to ${path}. It is over.`,
      nextLine(there(maint(['window import', path], {}, 'elsewhere,'))),
    ];
  return [
    `${what} is handed over to ${path}. This state does not act on it any more; nothing else has changed.`,
    'The file is the window now: take it in once, in one place.',
    ...(flag
      ? []
      : [
          'Its runbook has no flag step: nothing can tell two laptops that both take it in, and nothing refuses writes.',
        ]),
    nextLine(
      there(maint(['window import', path], {}, 'on the other laptop,')),
      maint(['window import', path], {}, 'back here,'),
    ),
  ];
}
