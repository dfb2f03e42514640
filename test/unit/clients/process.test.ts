import { spawn } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { isAlive, sameMachine, startTimeOf, thisProcess } from '../../../src/clients/process.ts';

test('this process is alive, and nobody else is it', () => {
  const me = thisProcess();
  expect(me.pid).toBe(process.pid);
  expect(me.startTime).not.toBe('');
  expect(isAlive(me)).toBe(true);
  expect(isAlive({ ...me, startTime: '1' })).toBe(false);
  expect(isAlive({ ...me, host: 'elsewhere' })).toBeUndefined();
  expect(isAlive({ ...me, bootId: 'another boot' })).toBeUndefined();
  expect(sameMachine({ ...me, pidNamespace: 'pid:[1]' })).toBe(false);
});

test('a start time is the process’ own, and goes with it', async () => {
  const child = spawn('sleep', ['60']);
  const startTime = startTimeOf(child.pid!);
  expect(startTime).toBeDefined();
  expect(startTimeOf(child.pid!)).toBe(startTime);
  child.kill('SIGKILL');
  await new Promise((done) => child.once('exit', done));
  expect(startTimeOf(child.pid!)).toBeUndefined();
  expect(isAlive({ ...thisProcess(), pid: child.pid!, startTime: startTime! })).toBe(false);
});
