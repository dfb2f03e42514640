// What the read-backs have in common.
import type { Window } from '../../engine/contract.ts';

/** Whether writes should be refused now: `now` may be asked during the soak, too. */
export function shouldHold(window: Window, moment: string): boolean {
  return moment === 'open' || (moment === 'now' && window.reopened === undefined);
}

/** `base` with a path behind it; a base's own path and userinfo stay. */
export function under(base: string, path: string): string {
  return `${base.replace(/\/+$/, '')}${path}`;
}

export function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
}
