// Writes that are no HTTP requests: calls that run, or do not, and how a schedule hears of it.
import { type JobSkipped, jobSkipped, ReadOnlyError, type ToolRefused, toolRefused } from './calls.ts';
import { type Core, passed } from './core.ts';
import type { WriteKind } from './counts.ts';
import { refusalOf } from './decide.ts';
import type { NamedCallOptions } from './options.ts';
import { isHeld } from './state.ts';
import { judgeCall } from './surfaces.ts';

/** Runs a call, unless somebody holds. */
async function call<Result, Refused>(
  core: Core,
  kind: Exclude<WriteKind, 'http'>,
  name: string,
  run: () => Result,
  refuse: (refusal: ReturnType<typeof refusalOf>) => Refused,
): Promise<Awaited<Result> | Refused> {
  const now = core.clock();
  const rule = judgeCall(core.rules, kind, name);
  const counts = rule?.name ?? name;
  if (isHeld(core.keeper.current, now) && rule?.disposition !== 'pass') {
    if (rule?.disposition === 'drop') {
      core.tally.count('dropped', counts);
      return undefined as Awaited<Result>;
    }
    core.tally.refused(kind, counts, now);
    return refuse(refusalOf(core.keeper.current, now, core.random));
  }
  passed(core, counts);
  core.tally.enter(kind);
  try {
    return await run();
  } finally {
    core.tally.leave(kind);
  }
}

export function job<Result>(core: Core, name: string, run: () => Result): Promise<Awaited<Result> | JobSkipped> {
  return call(core, 'job', name, run, jobSkipped);
}

export function named<Args extends unknown[], Result>(
  core: Core,
  fn: (...args: Args) => Result,
  options: NamedCallOptions & { readonly onRefused?: 'throw' | 'return' } = {},
) {
  const { kind = 'tool', onRefused = 'throw' } = options;
  const name = options.name || fn.name || kind;
  return (...args: Args) =>
    call(
      core,
      kind,
      name,
      () => fn(...args),
      (refusal): ToolRefused => {
        if (onRefused === 'return') return toolRefused(name, refusal);
        throw new ReadOnlyError(name, refusal);
      },
    );
}

/** Calls back at every change, and when the last holder runs out by the clock. */
export function watchState(core: Core, listener: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  function changed(): void {
    clearTimeout(timer);
    const left = core.keeper.current.holdsUntil - core.clock();
    if (left > 0 && Number.isFinite(left)) {
      timer = setTimeout(changed, Math.min(left + 1, 60_000));
      timer.unref();
    }
    listener();
  }
  const stop = core.keeper.onChange(changed);
  changed();
  return () => {
    clearTimeout(timer);
    stop();
  };
}
