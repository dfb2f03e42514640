// Which windows there are, and who else holds the environment.
import { MaintError } from '../../errors/catalogue.ts';
import { maint, type Next } from '../../errors/next.ts';
import type { Holder, Resource } from '../contract.ts';
import type { JournalEvent, Recorded } from '../events.ts';
import type { Looking } from '../plan.ts';
import type { WallLook } from '../truth.ts';
import { fold, label, type WindowState } from '../window.ts';
import { asOption, utc } from '../words.ts';
import type { Prepared, VerbHost } from './result.ts';

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

export function newWindowId(random: () => number = Math.random): string {
  return `w-${Array.from({ length: 6 }, () => CROCKFORD[Math.floor(random() * 32)]).join('')}`;
}

export async function liveWindow(
  host: VerbHost,
  environment: string,
  prepared?: Prepared,
): Promise<WindowState | undefined> {
  const [row] = await host.journal.windows({ environment, live: true });
  if (!row) return undefined;
  return fold(row.id, await host.journal.read(row.id), prepared?.surfaces ?? []);
}

/** The last five windows of the environment that are over, for estimates. */
export async function recentWindows(host: Pick<VerbHost, 'journal'>, environment: string): Promise<Recorded[][]> {
  const rows = await host.journal.windows({ environment, live: false });
  return await Promise.all(rows.slice(0, 5).map((row) => host.journal.read(row.id)));
}

export function openAlready(state: WindowState, why: string): MaintError {
  const { window } = state;
  const goOn = state.phase === 'aborted' ? 'abort' : 'end';
  return new MaintError(
    'E_WINDOW_OPEN',
    `${window.environment} ${why}: ${state.id} by ${window.by} since ${utc(window.since)}, until ${utc(window.until, { seconds: false })}, "${window.reason}" (${label(state, false, Date.now())}). Nothing changed.`,
    {
      next:
        state.phase === 'closed' || state.phase === 'aborted'
          ? [maint('status'), maint(goOn, {}, 'goes on with it')]
          : [
              maint('status'),
              maint('extend', { by: '15m' }, 'need longer?'),
              maint('end', { soak: asOption(state.opened.soakMs) }, 'finished?'),
            ],
    },
  );
}

export function endedMeanwhile(id: string, next: Next): MaintError {
  return new MaintError('E_NO_WINDOW', `${id} was ended by somebody else meanwhile. Nothing changed.`, {
    next: [next],
  });
}

/** The same text converges; another text is another intention. */
export function refuseOther(live: WindowState, prepared: Prepared): void {
  const was = live.opened;
  const differs =
    was.runbook.text !== prepared.text
      ? 'with another text of the runbook'
      : (was.runbook.surfaces?.text ?? '') !== (prepared.surfacesFile?.text ?? '')
        ? 'with other surfaces'
        : was.only.join() !== prepared.only.join() || was.skip.join() !== prepared.skip.join()
          ? 'with other --only / --skip'
          : undefined;
  if (differs) throw openAlready(live, `is already read-only, ${differs}`);
}

export interface HolderSeen extends Holder {
  step: string;
}
/** A flag that could not be asked, and why. */
export interface NotAsked {
  step: string;
  why: string;
}

/** Everybody who holds a flag of these steps, asked side by side. */
export async function holdersSeen(
  looking: Looking,
  withinMs = 10_000,
): Promise<{ holders: HolderSeen[]; notAsked: NotAsked[] }> {
  const flags = looking.steps.filter(
    ({ skipped, plugin }) => !skipped && plugin.kind === 'resource' && plugin.holders !== undefined,
  );
  const holders: HolderSeen[] = [];
  const notAsked: NotAsked[] = [];
  await Promise.all(
    flags.map(async ({ id, plugin, params }) => {
      const reader = looking.clients.reader({ signal: looking.signal, deadline: looking.now() + withinMs });
      try {
        const seen = await (plugin as Resource).holders!(reader, params);
        holders.push(...seen.map((holder) => ({ ...holder, step: id })));
      } catch (error) {
        // An interrupted question is not the answer that nobody holds it.
        if (looking.signal.aborted) throw looking.signal.reason;
        notAsked.push({ step: id, why: error instanceof Error ? error.message : String(error) });
      }
    }),
  );
  return { holders, notAsked };
}

/** Who else holds the walls that are seen open for us, in words. Asked only where one is. */
export async function otherHolders(looking: Looking, walls: readonly WallLook[], ours: string): Promise<string[]> {
  const open = new Set(walls.filter(({ is }) => is === 'open').map(({ step }) => step));
  if (open.size === 0) return [];
  const { holders } = await holdersSeen({ ...looking, steps: looking.steps.filter(({ id }) => open.has(id)) }, 2_000);
  return holders
    .filter(({ id }) => id !== ours)
    .map(({ step, id, until }) => `${step} is held by ${id} until ${utc(until, { seconds: false })}`);
}

/** Somebody whose state this is not holds the flag for the same environment. A flag that cannot be asked is told by the plan. */
export async function foreignHolders(looking: Looking, environment: string, ours: string): Promise<HolderSeen[]> {
  const { holders } = await holdersSeen(looking);
  return holders.filter((holder) => holder.environment === environment && holder.id !== ours);
}

/** What a window begins with: the facts, and the runbook's text as it is. */
export function openedEvent(
  host: VerbHost,
  prepared: Prepared,
  facts: { until: string; reason: string; by: string; ticket?: string | undefined; startsAt?: string | undefined },
): Extract<JournalEvent, { type: 'opened' }> {
  const { name, path, folder, text, surfacesFile } = prepared;
  return {
    type: 'opened',
    environment: prepared.environment,
    ...facts,
    contact: prepared.contact,
    statusPage: prepared.statusPage,
    rollbackPlan: prepared.rollbackPlan,
    overdueNotice: prepared.overdueNotice,
    onExpiry: prepared.onExpiry,
    soakMs: prepared.soakMs,
    budgetMs: prepared.budgetMs,
    order: prepared.order,
    version: host.version,
    runbook: { name, path, folder, text, surfaces: surfacesFile },
    only: prepared.only,
    skip: prepared.skip,
  };
}
