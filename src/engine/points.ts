// Named points where a test may kill the process: every journal append and every outer write, before and after.
// A name is step/kind/n/side, never an ordinal over the whole run, so that it stays the same when steps are added.
import { appendFileSync } from 'node:fs';

const counts = new Map<string, number>();

/**
 * `MAINT_TEST_KILL_AT=flag/write http POST/1/before` dies there by SIGKILL, `MAINT_TEST_STOP_AT` stands still there until
 * SIGCONT (a closed lid), `MAINT_TEST_POINTS=file` lists the names passed.
 */
export function point(step: string, kind: string, side: 'before' | 'after'): void {
  const { MAINT_TEST_KILL_AT: killAt, MAINT_TEST_STOP_AT: stopAt, MAINT_TEST_POINTS: list } = process.env;
  if (killAt === undefined && stopAt === undefined && list === undefined) return;
  const key = `${step}/${kind}/${side}`;
  const n = (counts.get(key) ?? 0) + 1;
  counts.set(key, n);
  const name = `${step}/${kind}/${n}/${side}`;
  if (list !== undefined) appendFileSync(list, `${name}\n`);
  if (killAt === name) process.kill(process.pid, 'SIGKILL');
  if (stopAt === name) process.kill(process.pid, 'SIGSTOP');
}
