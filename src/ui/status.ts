// status: from the journal, and where the secrets are at hand from a look at the world (what appeared, what drifted).
import type { App } from '../app.ts';
import { plan } from '../engine/plan.ts';
import { monotonicNow, waitUntil } from '../engine/run.ts';
import { type Status, statusOf } from '../engine/verbs/look.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { nextLine, nextText } from './result.ts';

export interface StatusView {
  exit: ExitCode;
  lines: string[];
  json: Record<string, unknown>;
}

const FOLLOW_MS = 1000;

export async function* statusView(
  app: App,
  options: { environment?: string | undefined; follow: boolean },
): AsyncGenerator<StatusView> {
  let shown = '';
  for (;;) {
    const view = await look(app, options.environment);
    const text = view.lines.join('\n').replace(/\(\S+( \S+)? left\)/, '');
    if (text !== shown) yield view;
    shown = text;
    if (!options.follow || view.exit === EXIT.DONE) return;
    await waitUntil(monotonicNow() + FOLLOW_MS, app.options.interrupt.signal);
  }
}

async function look(app: App, environment: string | undefined): Promise<StatusView> {
  const journal = await app.journal();
  const live = await app.live(environment);
  if (!live) {
    const what = environment ?? 'Nothing';
    return {
      exit: EXIT.DONE,
      lines: [environment ? `${what} has no open window.` : 'No window is open.', 'Next: maint start --window 30m'],
      json: {
        ok: true,
        exit: EXIT.DONE,
        environment: environment ?? null,
        window: null,
        label: 'none',
        lines: [],
        next: [{ command: 'maint start --window 30m' }],
      },
    };
  }
  const lease = await app.acting(live.window.environment);
  const notes: string[] = [];
  let status: Status;
  try {
    const { prepared, state: found } = await app.prepareWindow(live, { lead: 'not looked at the world' });
    const host = await app.host(false);
    let state = found;
    if (!found.window.overdue && Date.parse(found.window.until) <= Date.now()) {
      const { markOverdue } = await import('../engine/verbs/extend.ts');
      state = await markOverdue(await app.host(true), prepared, found);
    }
    const quiet = state.reached && state.phase === 'open';
    const planned = quiet
      ? await plan(
          { steps: prepared.steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow },
          state.window,
          state,
          ['open'],
          { rights: false },
        )
      : undefined;
    status = await statusOf(host, state, lease, prepared.steps, planned);
  } catch (error) {
    if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED') throw error;
    notes.push(
      `${error.message.replace(/ Nothing changed\.$/, '')} So this is what the journal says, and nobody looked at the world.`,
    );
    status = await statusOf({ journal }, live, lease, []);
  }
  const { state, ...rest } = status;
  const lines = [
    ...status.lines.slice(0, 1),
    ...[...status.lines.slice(1), ...notes].map((line) => `  ${line}`),
    nextLine(status.next.map(nextText)),
  ];
  return {
    exit: status.exit,
    lines,
    json: {
      ok: status.exit === EXIT.DONE,
      ...rest,
      notes,
      phase: state.phase,
      reached: state.reached,
      since: state.window.since,
      until: state.window.until,
      by: state.window.by,
      reason: state.window.reason,
      failures: [...state.failures.values()],
    },
  };
}
