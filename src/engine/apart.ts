// What must take writes while the walls are closed (a queue) stands on another server than what they close or watch.
// Addresses alone do not tell: one server has many names.
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import type { Step } from './contract.ts';
import type { Looking } from './plan.ts';

const ASK_MS = 10_000;

/** Throws E_STORE_INSIDE. A server that does not answer is not a reason to refuse; its own check reports that. */
export async function refuseInside(looking: Looking): Promise<void> {
  const steps = looking.steps.filter((step) => step.skipped === undefined && step.plugin.server);
  const keeping = steps.filter((step) => step.plugin.keeps);
  if (keeping.length === 0 || keeping.length === steps.length) return;
  const servers = new Map<Step, string>();
  await Promise.all(
    steps.map(async (step) => {
      const reader = looking.clients.reader({ signal: looking.signal, deadline: looking.now() + ASK_MS });
      const server = await step.plugin.server!(reader, step.params).catch(() => undefined);
      if (looking.signal.aborted) throw looking.signal.reason;
      if (server !== undefined) servers.set(step, server);
    }),
  );
  const details = keeping.flatMap((keeper) =>
    steps
      .filter((step) => !step.plugin.keeps && servers.has(keeper) && servers.get(step) === servers.get(keeper))
      .map(
        (step) =>
          `${keeper.id} (${keeper.plugin.name}) keeps ${keeper.plugin.address(keeper.params)} on ${servers.get(keeper)}, which ${step.id} (${step.plugin.name}) wants without writes`,
      ),
  );
  if (details.length === 0) return;
  throw new MaintError(
    'E_STORE_INSIDE',
    'The queue is on the server that this runbook makes read-only. Nothing changed.',
    {
      details,
      next: [advice('keep the queue elsewhere: a PostgreSQL of its own, or a file'), maint(['steps', 'backfill'])],
    },
  );
}
