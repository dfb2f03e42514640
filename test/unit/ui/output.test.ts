import { EventEmitter } from 'node:events';
import { expect, test } from '@jest/globals';
import { lostLine, outliveReaders, outOf } from '../../../src/ui/output.ts';

function stream(more: Record<string, unknown> = {}) {
  const taken: string[] = [];
  const made = Object.assign(new EventEmitter(), {
    isTTY: false,
    destroyed: false,
    writableEnded: false,
    write: (text: string) => taken.push(text) > 0,
    ...more,
  });
  return { stream: made as unknown as NodeJS.WriteStream, taken, emit: (error: Error) => made.emit('error', error) };
}
function failure(code: string): Error {
  return Object.assign(new Error(`write ${code}`), { code });
}

test.each(['ENOSPC', 'EDQUOT', 'EFBIG', 'ESTALE', 'EAGAIN', 'ENXIO', 'EIO', 'EBADF', 'ERR_SOMETHING_NEW'])(
  'an error of a stream stays with the stream: %s',
  (code) => {
    const one = stream();
    outliveReaders([one.stream]);
    expect(() => one.emit(failure(code))).not.toThrow();
    expect(lostLine(one.stream)).toMatch(
      /^std\w+ cannot be written \(.+\)\. What it did not take is dropped; the work goes on\.$/,
    );
  },
);

test.each(['ENOSPC', 'EAGAIN', 'EBADF'])('also where the call itself throws it: %s', (code) => {
  const one = stream({
    write: () => {
      throw failure(code);
    },
  });
  outliveReaders([one.stream]);
  expect(() => outOf(one.stream).write('a line\n')).not.toThrow();
  expect(lostLine(one.stream)).toContain('cannot be written');
});

test.each([
  ['a pipe whose reader has seen enough', 'EPIPE', false],
  ['a socket that was closed', 'ECONNRESET', false],
  ['a terminal that is gone', 'EIO', true],
])('who left by itself is not told of: %s', (_name, code, isTTY) => {
  const one = stream({ isTTY });
  outliveReaders([one.stream]);
  one.emit(failure(code));
  expect(lostLine(one.stream)).toBeUndefined();
});
