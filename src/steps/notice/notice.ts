// What a notice says, whatever it is posted on. Pure functions of the window: no clock, and no word that is not true
// yet ("writes work again" only once the last wall has opened).

import type { Phase, Window } from '../../engine/contract.ts';
import { cutText } from '../../engine/cut.ts';
import { OuterError } from '../../errors/catalogue.ts';

/** Longer reasons and notes are cut: both services have limits, and nobody reads them on a status page. */
const MAX_CHARACTERS = 1_000;

/**
 * One sentence with the exact times, UTC. `earlier` is the phase that the notice last told: an abort from `announced`
 * was no maintenance at all; from any later one something may have been closed, even if not every wall was.
 */
export function sentence(phase: Phase, window: Window, earlier?: Phase): string {
  const { since, until, plannedUntil, reopened, overdue } = window;
  switch (phase) {
    case 'announced':
      return `Planned: read-only on ${span(since, until, 'dated')}. Reading goes on working; changes will be refused.`;
    case 'open': {
      if (overdue) {
        return `Taking longer than planned: read-only since ${moment(since)}, the end was planned for ${moment(until)}. Reading works; changes are still refused.${window.overdueNotice ? ` ${cut(window.overdueNotice)}` : ''}`;
      }
      const moved = instant(until) === instant(plannedUntil) ? '' : ` (first planned until ${moment(plannedUntil)})`;
      return `Read-only since ${moment(since)}, until ${moment(until)}${moved}. Reading works; changes are refused until then.`;
    }
    case 'soaking':
      if (!reopened) return `Verifying: the end of the maintenance that began at ${moment(since)} is under way.`;
      return `Verifying: writes work again since ${moment(reopened)}; we keep watching for a while.`;
    case 'closed':
      if (!reopened) return `Completed: the maintenance that began at ${moment(since)} is over.`;
      return `Completed: read-only ${span(since, reopened)}, planned until ${moment(until)}. Writes work again.`;
    case 'aborted':
      if (reopened) return `Cancelled: read-only ${span(since, reopened)}, writes work again.`;
      if (earlier === undefined || earlier === 'announced') return 'Cancelled: no maintenance took place.';
      return 'Cancelled: the maintenance was broken off.';
  }
}

/** What people ask next, one line each. */
export function details(phase: Phase, window: Window, more: { statusPage: boolean }): string[] {
  const over = phase === 'closed' || phase === 'aborted';
  const lines = [
    `Reason: ${cut(window.reason)}${window.ticket ? ` (${window.ticket})` : ''}`,
    `Contact: ${window.contact}`,
  ];
  if (over) return lines;
  if (window.rollbackPlan) lines.push(`Rollback plan: ${window.rollbackPlan}`);
  if (more.statusPage && window.statusPage) lines.push(`Status page: ${window.statusPage}`);
  if (window.note) lines.push(`Note: ${cut(window.note)}`);
  return lines;
}

/** RFC 3339 with milliseconds, UTC: the one form in which times are compared. */
export function instant(time: string): string {
  return new Date(time).toISOString();
}

/** "2026-11-24 02:00:04 UTC"; whole minutes without seconds. */
export function moment(time: string): string {
  return `${day(time)} ${clock(time)} UTC`;
}

/** "02:00:04–02:01:41 UTC"; with the dates where they differ, or `dated`. */
export function span(from: string, to: string, dated?: 'dated'): string {
  if (day(from) !== day(to)) return `${day(from)} ${clock(from)} – ${day(to)} ${clock(to)} UTC`;
  return `${dated ? `${day(from)}, ` : ''}${clock(from)}–${clock(to)} UTC`;
}

function day(time: string): string {
  return instant(time).slice(0, 10);
}
function clock(time: string): string {
  const text = instant(time).slice(11, 19);
  return text.endsWith(':00') ? text.slice(0, 5) : text;
}

function cut(text: string): string {
  return cutText(text, MAX_CHARACTERS);
}

/** `base` without a final slash and without what must not be shown. */
export function hostOf(base: string): string {
  return new URL(base).host;
}

/** The service's own word or status, where an error of a client is one of these. */
export function isOneOf(error: unknown, words: readonly (string | number)[]): error is OuterError {
  return error instanceof OuterError && words.some((word) => word === error.code || word === error.status);
}

/** The first names and how many more there are. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown || 'none';
}
