// A clock for a whole process that runs faster than the world's: what waits ten seconds for a service that hangs waits
// one. Everything is moved alike (Date, performance.now, timers), so that no part sees another time than the others.
import { createRequire, syncBuiltinESMExports } from 'node:module';

const require = createRequire(import.meta.url);

export interface Quick {
  realNow(): number;
  /** to the world's time, and from there on by this factor; between two cases, when nothing waits any more */
  back(to?: number): void;
  /** how long (by the quick clock) this process did not come to its turn since the last call: the machine was busy */
  stood(): number;
}
/** In real time. A gap of this much between two looks is ordinary. */
const LOOK_MS = 20;
const ORDINARY_MS = 30;

/** Call before anything that keeps a reference to a timer is imported. Never undone: it is for a process of its own. */
export function quicken(factor: number): Quick {
  const RealDate = Date;
  const realDateNow = Date.now;
  const { performance } = require('node:perf_hooks') as typeof import('node:perf_hooks');
  const realPerformance = performance.now.bind(performance);
  let from = { wall: realDateNow(), mono: realPerformance() };
  const ahead = () => (realPerformance() - from.mono) * (factor - 1);
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
  let stood = 0;
  let looked = realPerformance();
  timers['setInterval'](() => {
    const now = realPerformance();
    stood += Math.max(0, now - looked - LOOK_MS - ORDINARY_MS) * factor;
    looked = now;
  }, LOOK_MS * factor).unref();
  const real = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (ms) => real(Math.ceil(ms / factor));
  syncBuiltinESMExports();
  return {
    realNow: realPerformance,
    back(to = factor) {
      from = { wall: realDateNow(), mono: realPerformance() };
      factor = to;
    },
    stood() {
      const ms = stood;
      stood = 0;
      return ms;
    },
  };
}
