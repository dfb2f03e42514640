// The guards that a runbook's steps name, asked: one round of questions, each with its own deadline.
import { monotonicNow } from '../engine/clock.ts';
import type { Step } from '../engine/contract.ts';
import type { VerbHost } from '../engine/verbs/result.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import type { Scope } from '../report/scope.ts';
import type { GuardLine } from '../ui/guards.ts';
import type { App, RunbookChoice } from './app.ts';
import { lastWindow } from './windows.ts';

const ASK_GUARDS_MS = 3_000;

/** What the guards say that a window's steps name, asked once: whoever looks does not wait for one that is gone. */
export async function lookAtGuards(host: VerbHost, steps: readonly Step[], withinMs: number): Promise<GuardLine[]> {
  const [{ guardsOf }, { askGuard }] = await Promise.all([
    import('../runbook/guards.ts'),
    import('../clients/guards.ts'),
  ]);
  const named = new Set(steps.filter(({ skipped }) => !skipped).flatMap(({ params }) => guardsOf(params)));
  if (named.size === 0) return [];
  const reader = host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + withinMs });
  return await Promise.all(
    [...named].map(async (address): Promise<GuardLine> => {
      const { guard, seen, problem } = await askGuard(reader.http, address, withinMs);
      return {
        guard,
        readOnly: seen?.readOnly ?? null,
        refused: seen?.refused ?? null,
        inFlight: seen?.inFlight ?? null,
        queued: seen?.queue?.queued ?? null,
        problem: problem ?? null,
      };
    }),
  );
}

/** Every way to write, held against what the guards and the canaries have seen. Writes nothing. */
export async function scopeSeen(app: App, choice: RunbookChoice, named: readonly string[] | undefined): Promise<Scope> {
  const [{ guardsOf, namedGuards }, { askGuard }, { scopeOf }] = await Promise.all([
    import('../runbook/guards.ts'),
    import('../clients/guards.ts'),
    import('../report/scope.ts'),
  ]);
  const runbook = await app.runbook(choice);
  let guards: string[];
  if (named === undefined) {
    const steps = await app.some(runbook, (step) => guardsOf(step.with).length > 0, 'the guards cannot be asked');
    guards = [...new Set(steps.flatMap(({ params }) => guardsOf(params)))];
  } else guards = namedGuards(named);
  if (guards.length === 0)
    throw new MaintError(
      'E_USAGE',
      `${app.shownPath(runbook.path)} has no step that names guards, so nobody can be asked.`,
      {
        details: ['verify/flag and drain/inflight name them'],
        next: [maint('scope check', { guard: 'https://api.example.com' }), maint(['steps', 'verify/flag'])],
      },
    );
  await app.hide(guards.map((guard) => URL.parse(guard)?.password ?? '').filter((password) => password !== ''));
  const { clients } = await app.host(false);
  const signal = app.options.interrupt.signal;
  const reader = clients.reader({ signal, deadline: monotonicNow() + ASK_GUARDS_MS + 1_000 });
  const asked = await Promise.all(guards.map((guard) => askGuard(reader.http, guard, ASK_GUARDS_MS)));
  if (signal.aborted) throw signal.reason;
  if (asked.every(({ seen }) => seen === undefined))
    throw new MaintError(
      'E_REFUSED',
      `${guards.length === 1 ? 'The guard does not answer' : `None of ${guards.length} guards answers`}, so nothing can be said.`,
      {
        details: asked.map(({ guard, problem }) => `${guard}  ${problem}`),
        next: [maint('scope list'), advice('another address: --guard')],
      },
    );
  return scopeOf(runbook.surfaces, asked, await lastWindow(app, runbook.environment));
}
