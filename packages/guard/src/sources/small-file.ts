// Reading a file of which nobody knows what it is: a FIFO, a device, a folder, or one without an end.
import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

const MOST_BYTES = 1024 * 1024;
const CHUNK = 64 * 1024;
/** A FIFO that nobody writes to would be waited for without an end. It does not exist on Windows. */
const HOW = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** @throws what the file system says; an Error where it is not a file, or is larger than 1 MiB */
export function readSmallSync(path: string): string {
  checkKind(statSync(path));
  const file = openSync(path, HOW);
  try {
    checkKind(fstatSync(file));
    const chunks: Buffer[] = [];
    for (let size = 0; ; ) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const read = readSync(file, chunk);
      if (read === 0) return Buffer.concat(chunks).toString('utf8');
      chunks.push(chunk.subarray(0, read));
      checkSize((size += read));
    }
  } finally {
    closeSync(file);
  }
}

/** As `readSmallSync`, for later: a mount that hangs must not hold up the service. */
export async function readSmall(path: string): Promise<string> {
  // Opening a device may do something, so it is looked at before.
  checkKind(await stat(path));
  const file: FileHandle = await open(path, HOW);
  try {
    checkKind(await file.stat());
    const chunks: Buffer[] = [];
    for (let size = 0; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK));
      if (bytesRead === 0) return Buffer.concat(chunks).toString('utf8');
      chunks.push(buffer.subarray(0, bytesRead));
      checkSize((size += bytesRead));
    }
  } finally {
    await file.close();
  }
}

function checkKind(found: Stats): void {
  if (!found.isFile()) throw new Error('the flag is not a file');
}

function checkSize(size: number): void {
  if (size > MOST_BYTES) throw new Error(`the flag document is larger than ${MOST_BYTES} bytes`);
}
