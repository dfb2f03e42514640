// What a runbook and its surfaces say that is allowed, and that somebody should know before a window.
import { lasting } from '../engine/words.ts';
import type { Runbook } from './load.ts';
import { layerInText, roleInText } from './rules.ts';

type Known = Pick<Runbook, 'surfaces' | 'shortestTokenLifeMs'>;

/** Readers who are locked out once their token has expired: the surfaces that would renew it are refused. */
function lockedOutBy({ surfaces }: Pick<Known, 'surfaces'>): string[] {
  return surfaces
    .filter(({ purpose, disposition }) => {
      return disposition !== 'pass' && (purpose === 'token_refresh' || purpose === 'login');
    })
    .map(({ name }) => name);
}

/** For `runbook check`. */
export function warningsOf(runbook: Pick<Runbook, 'surfaces' | 'shortestTokenLifeMs' | 'steps'>): string[] {
  const { surfaces, shortestTokenLifeMs: life, steps } = runbook;
  const warnings: string[] = [];
  const closed = lockedOutBy(runbook);
  if (life !== undefined && closed.length > 0)
    warnings.push(
      `${closed.join(', ')} ${closed.length === 1 ? 'is' : 'are'} refused, and the shortest token lives ${lasting(life)}: a window longer than ${lasting(life)} locks readers out. disposition: pass where the session store stands outside the walls`,
    );
  for (const { name, purpose, disposition } of surfaces) {
    if (purpose === 'logout' && disposition !== 'pass')
      warnings.push(
        `${name} is refused: nobody can end a session that was stolen while the window is open. disposition: pass where the session store stands outside the walls`,
      );
    if (purpose === 'password_reset' && disposition === 'pass')
      warnings.push(`${name} passes: a password that is reset is written where the accounts are, inside the walls`);
  }
  const buffered = surfaces.filter(({ disposition }) => disposition === 'buffer').map(({ name }) => name);
  const replays = steps.some((step) => step.skipped === undefined && step.uses === 'backfill');
  if (buffered.length > 0 && !replays)
    warnings.push(
      `${buffered.join(', ')} ${buffered.length === 1 ? 'is' : 'are'} buffered, and no step applies what was accepted: add uses: backfill, or run maint queue backfill afterwards`,
    );
  const late = lateEdge(steps);
  if (late)
    warnings.push(
      `${late.edge} closes at the edge, after ${late.service}: writes pass the edge until then, and on the way back it opens first. Put it before ${late.service}`,
    );
  const walls = unproven(steps);
  if (walls.length > 0)
    warnings.push(
      `nothing shows that ${walls.join(' and ')} ${walls.length === 1 ? 'refuses' : 'refuse'} writes: add uses: verify/endpoints (a canary for each surface), verify/flag (what the guards say) or no-writes/… (what the store counts)`,
    );
  return warnings;
}

/** The walls of a list in which no check shows that writes are refused, or that there are none. */
function unproven(steps: Runbook['steps']): string[] {
  const active = steps.filter(({ skipped }) => skipped === undefined);
  if (active.some(({ plugin }) => plugin.kind === 'check' && plugin.proves !== undefined)) return [];
  return active.filter(({ plugin, with: params }) => roleInText(plugin, params) === 'wall').map(({ id }) => id);
}

/** Allowed, since both refuse what comes; only the order is not the usual one. */
function lateEdge(steps: Runbook['steps']): { edge: string; service: string } | undefined {
  let service: string | undefined;
  for (const { id, plugin, with: params, skipped } of steps) {
    if (skipped !== undefined || roleInText(plugin, params) !== 'wall') continue;
    const layer = layerInText(plugin, params);
    if (layer === 'service') service ??= id;
    if (layer === 'edge' && service !== undefined) return { edge: id, service };
  }
  return undefined;
}

/** For `start`: a window of this length outlives the tokens. */
export function outlivesTokens(known: Known, windowMs: number): string | undefined {
  const { shortestTokenLifeMs: life } = known;
  if (life === undefined || windowMs <= life) return undefined;
  const closed = lockedOutBy(known);
  if (closed.length === 0) return undefined;
  return `Readers are locked out ${lasting(life)} into the window: that is how long the shortest token lives, and ${closed.join(', ')} ${closed.length === 1 ? 'is' : 'are'} refused.`;
}
