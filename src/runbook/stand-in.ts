// A rehearsal on a recorded world needs no credentials: what is not set here gets a stand-in of the kind that the params
// want. It reaches nobody: nothing is called, and `.invalid` resolves nowhere (RFC 2606).
import type { Step } from '../engine/contract.ts';
import type { Runbook, RunbookStep } from './load.ts';
import { type Environment, type ReadFile, type Resolution, type Resolved, resolve } from './variables.ts';

const STAND_INS = [
  'stand-in.invalid',
  'https://stand-in.invalid',
  'redis://stand-in.invalid',
  'postgres://stand-in.invalid/stand-in',
  '/stand-in',
  '1',
  'true',
  '30s',
] as const;

export interface Inert extends Resolved {
  secrets: string[];
  /** what got a stand-in, or none that fits */
  missing: string[];
}

/** As resolve(), and never refuses: a step whose params no stand-in fits is skipped, with the reason. */
export function resolveInert(runbook: Runbook, env: Environment, readFile: ReadFile): Inert {
  const secrets = new Set<string>();
  const missing = new Set<string>();
  const top = { ...runbook, steps: [] };
  const steps = runbook.steps.map((step): Step => {
    const { resolution, absent } = resolveStep(runbook, step, env, readFile);
    for (const secret of resolution.secrets) if (!STAND_INS.some((one) => one === secret)) secrets.add(secret);
    for (const name of absent) missing.add(name);
    if (resolution.ok) return resolution.steps[0]!;
    const { uses: _uses, with: params, line: _line, ...rest } = step;
    const why = resolution.unusable[0];
    return {
      ...rest,
      params,
      skipped: why
        ? `${why.path} cannot be rehearsed: ${why.why}`
        : `${[...absent].join(', ')} is not set, and no stand-in fits`,
    };
  });
  const { resolution, absent } = attempt(top, env, readFile, new Map());
  for (const name of absent) missing.add(name);
  const told = resolution.ok ? resolution : { contact: runbook.contact };
  return { ...told, steps, secrets: [...secrets], missing: [...missing] };
}

/** One variable after the other takes the stand-in with which the fewest values are of no use. */
function resolveStep(runbook: Runbook, step: RunbookStep, env: Environment, readFile: ReadFile) {
  const one = {
    ...runbook,
    contact: '',
    statusPage: undefined,
    rollbackPlan: undefined,
    overdueNotice: undefined,
    steps: [step],
  };
  const chosen = new Map<string, string>();
  let best = attempt(one, env, readFile, chosen);
  for (const name of best.absent) {
    for (const candidate of STAND_INS) {
      if (best.resolution.ok) return best;
      const tried = attempt(one, env, readFile, new Map([...chosen, [name, candidate]]));
      if (problems(tried.resolution) >= problems(best.resolution)) continue;
      best = tried;
      chosen.set(name, candidate);
    }
  }
  return best;
}

function attempt(runbook: Runbook, env: Environment, readFile: ReadFile, chosen: ReadonlyMap<string, string>) {
  const first = resolve(runbook, env, readFile);
  if (first.ok) return { resolution: first, absent: new Set<string>() };
  const absent = new Set(first.missing.map((one) => one.variable));
  const filled: Record<string, string | undefined> = { ...env };
  for (const name of absent) if (!name.startsWith('file:')) filled[name] = chosen.get(name) ?? STAND_INS[0];
  const resolution = resolve(runbook, filled, (path) => {
    try {
      return readFile(path) || STAND_INS[0];
    } catch {
      const name = [...absent].find((one) => one.startsWith('file:') && path.endsWith(one.slice('file:'.length)));
      return (name && chosen.get(name)) ?? STAND_INS[0];
    }
  });
  return { resolution, absent };
}

function problems(resolution: Resolution): number {
  return resolution.ok ? 0 : resolution.unusable.length + resolution.missing.length;
}
