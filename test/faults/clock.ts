// A clock for a whole process that runs faster than the world's: what waits ten seconds for a service that hangs waits
// one. Everything is moved alike (Date, performance.now, timers), so that no part sees another time than the others.
import { createRequire, syncBuiltinESMExports } from 'node:module';

const require = createRequire(import.meta.url);

/** Call before anything that keeps a reference to a timer is imported. Never undone: it is for a process of its own. */
export function quicken(factor: number): { realNow(): number; back(): void } {
  const RealDate = Date;
  const realDateNow = Date.now;
  const { performance } = require('node:perf_hooks') as typeof import('node:perf_hooks');
  const realPerformance = performance.now.bind(performance);
  let from = { wall: realDateNow(), mono: realPerformance() };
  let lead = 0;
  const ahead = () => (realPerformance() - from.mono) * (factor - 1) + lead;
  class QuickDate extends RealDate {
    constructor(...args: any[]) {
      if (args.length === 0) super(QuickDate.now());
      else super(...(args as [number]));
    }
    static override now(): number {
      return Math.floor(realDateNow() + ahead());
    }
  }
  globalThis.Date = QuickDate as DateConstructor;
  performance.now = () => realPerformance() + ahead();
  globalThis.performance.now = performance.now;

  const timers = require('node:timers') as Record<string, any>;
  const promises = require('node:timers/promises') as Record<string, any>;
  const shorter = (ms: unknown) => (typeof ms === 'number' ? ms / factor : ms);
  for (const name of ['setTimeout', 'setInterval']) {
    const real = timers[name];
    const quick = Object.assign(
      (call: unknown, ms: unknown, ...args: unknown[]) => real(call, shorter(ms), ...args),
      real,
    );
    timers[name] = quick;
    (globalThis as any)[name] = quick;
    const later = promises[name];
    promises[name] = (ms: unknown, ...args: unknown[]) => later(shorter(ms), ...args);
  }
  const real = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => real(Math.ceil(ms / factor));
  syncBuiltinESMExports();
  return {
    realNow: realPerformance,
    /** to the world's time; between two cases, when nothing waits any more */
    back() {
      from = { wall: realDateNow(), mono: realPerformance() };
      lead = 0;
    },
  };
}
