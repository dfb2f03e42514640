import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { typeToGoOn } from '../../../src/ui/confirm.ts';

/** `isTTY` makes readline read keys, as on a terminal. */
function prompt(isTTY = false) {
  const input = Object.assign(new PassThrough(), isTTY ? { isTTY: true, setRawMode: () => undefined } : {});
  const output = Object.assign(new PassThrough(), isTTY ? { isTTY: true, columns: 80 } : {});
  let shown = '';
  output.on('data', (chunk) => {
    shown += chunk;
  });
  return { input, output, shown: () => shown };
}
const signal = new AbortController().signal;

test('the word, with blanks around it', async () => {
  const io = prompt();
  const asked = typeToGoOn('prod', signal, io);
  io.input.write(' prod \n');
  await asked;
  expect(io.shown()).toBe('Type prod to go on: ');
});

test.each([
  ['Prod\n', '"Prod" is not prod. Nothing changed.'],
  ['y\n', '"y" is not prod. Nothing changed.'],
  ['\n', 'Nothing was typed. Nothing changed.'],
])('a wrong word %j is refused with 66', async (typed, message) => {
  const io = prompt();
  const asked = typeToGoOn('prod', signal, io);
  io.input.write(typed);
  await expect(asked).rejects.toMatchObject({
    code: 'E_NOT_CONFIRMED',
    exit: 66,
    message,
    next: [{ advice: 'the same command again, and type prod' }],
  });
});

test('the end of the input is no answer', async () => {
  const io = prompt();
  const asked = typeToGoOn('prod', signal, io);
  io.input.end();
  await expect(asked).rejects.toMatchObject({
    code: 'E_NOT_CONFIRMED',
    message: 'There was no answer. Nothing changed.',
  });
  expect(io.shown()).toBe('Type prod to go on: \n');
});

test('Ctrl-D on a terminal is no answer, Ctrl-C is an interruption', async () => {
  const eof = prompt(true);
  const first = typeToGoOn('prod', signal, eof);
  eof.input.write('\x04');
  await expect(first).rejects.toMatchObject({ code: 'E_NOT_CONFIRMED' });
  const int = prompt(true);
  const second = typeToGoOn('prod', signal, int);
  int.input.write('pro\x03');
  await expect(second).rejects.toMatchObject({ code: 'E_INTERRUPTED', exit: 130 });
});

test('a signal ends the question, and a second question listens to it no more', async () => {
  const stop = new AbortController();
  const io = prompt();
  const asked = typeToGoOn('prod', stop.signal, io);
  stop.abort(new MaintError('E_INTERRUPTED', 'interrupted (SIGHUP)'));
  await expect(asked).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
  await expect(typeToGoOn('prod', stop.signal, prompt())).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
});

test('a terminal that is gone is no answer', async () => {
  const io = prompt();
  const asked = typeToGoOn('prod', signal, io);
  io.input.destroy(Object.assign(new Error('read EIO'), { code: 'EIO' }));
  await expect(asked).rejects.toMatchObject({ code: 'E_NOT_CONFIRMED' });
});
