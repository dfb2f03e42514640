// doctor: each step asked by itself, with the time that it took: can it be reached, is it allowed, can it be used? The
// same plan as a start's, and the same list of troubles.
import { EXIT } from '../../errors/exit-codes.ts';
import type { Next } from '../../errors/next.ts';
import type { Step } from '../contract.ts';
import { type Looking, plan } from '../plan.ts';
import { monotonicNow } from '../run.ts';
import { troublesOf } from '../usable.ts';
import { count } from '../words.ts';
import { rehearsedWindow } from './rehearse.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';

export interface Examined {
  /** a step's id, `variables` or `state` */
  name: string;
  uses?: string | undefined;
  address: string;
  /** problem: a start would be refused, or would begin with reads that fail; warning: a start would go on */
  verdict: 'ok' | 'problem' | 'warning' | 'skipped';
  /** what was found, in words, one line each; of what is well, at most one */
  found: string[];
  how: string;
  ms: number;
  /** what a start would do about it, and what to do */
  effect?: string | undefined;
  todo?: string | undefined;
}

export interface Doctored extends VerbResult {
  rows: Examined[];
  problems: number;
}

/** `todo`: what to do about a step, as the runbook's text tells it. */
export async function examineSteps(
  host: Pick<VerbHost, 'clients' | 'interrupt' | 'machine'>,
  prepared: Prepared,
  todo: (step: Step) => string,
): Promise<Examined[]> {
  const since = new Date().toISOString();
  const window = rehearsedWindow(prepared, since, 30 * 60_000, host.machine.owner('doctor').name);
  return await Promise.all(
    prepared.steps.map(async (step): Promise<Examined> => {
      const { plugin, skipped } = step;
      const base = { name: step.id, uses: plugin.name };
      if (skipped) return { ...base, address: '', verdict: 'skipped', found: [skipped], how: '', ms: 0 };
      const looking: Looking = {
        steps: [step],
        clients: host.clients,
        signal: host.interrupt.signal,
        now: monotonicNow,
      };
      const began = performance.now();
      const planned = await plan(looking, window, undefined, ['open'], { rights: 'all', reads: true });
      const ms = Math.round(performance.now() - began);
      const asked = { ...base, address: plugin.address(step.params), how: plugin.asks ?? howOf(step), ms };
      const troubles = troublesOf(planned, [step]);
      const [first] = troubles;
      if (!first) {
        const found = plugin.kind === 'check' ? (plugin.doubts?.(step.params, window) ?? []) : [];
        return { ...asked, verdict: found.length > 0 ? 'warning' : 'ok', found };
      }
      return {
        ...asked,
        verdict: troubles.some(({ fatal }) => fatal) ? 'problem' : 'warning',
        found: troubles.map(({ message }) => message),
        effect: effectOf(first),
        todo: troubles.find(({ next }) => next)?.next ?? todo(step),
      };
    }),
  );
}

function howOf({ plugin }: Step): string {
  if (plugin.kind === 'resource') return plugin.allowed ? 'looked at, and asked for its rights' : 'looked at';
  return plugin.allowed || plugin.usable ? 'asked' : 'not asked: it needs nothing before it runs';
}

function effectOf({ fatal, reads }: { fatal: boolean; reads: boolean }): string {
  if (!fatal) return 'a start goes on without it';
  return reads ? 'a start would only say so' : 'a start would be refused';
}

export function doctored(environment: string, rows: Examined[], again: Next[]): Doctored {
  const problems = rows.filter(({ verdict }) => verdict === 'problem').length;
  const look = rows.filter(({ verdict }) => verdict === 'warning').length;
  return {
    verb: 'doctor',
    exit: problems > 0 ? EXIT.REFUSED : EXIT.DONE,
    code: problems > 0 ? 'E_UNUSABLE' : undefined,
    environment,
    headline: `${count(problems, 'problem')}, ${count(look, 'thing')} to look at. Nothing was written.`,
    details: [],
    look,
    next: again,
    rows,
    problems,
  };
}
