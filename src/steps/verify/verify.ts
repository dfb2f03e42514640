// What the read-backs have in common: every status is an answer to look at, and places are named without secrets.
import type { Window } from '../../engine/contract.ts';

/** For `expect`: no status is an error here. */
export const ANY_STATUS: readonly number[] = Array.from({ length: 500 }, (_, i) => 100 + i);

/** Whether writes should be refused now: `now` may be asked during the soak, too. */
export function shouldHold(window: Window, moment: string): boolean {
  return moment === 'open' || (moment === 'now' && window.reopened === undefined);
}

/** `base` with a path behind it; a base's own path and userinfo stay. */
export function under(base: string, path: string): string {
  return `${base.replace(/\/+$/, '')}${path}`;
}

/** Host and path: what may be shown of an address. */
export function placeOf(address: string): string {
  if (!URL.canParse(address)) return 'an address that is not known yet';
  const { host, pathname } = new URL(address);
  return `${host}${pathname.replace(/\/+$/, '')}`;
}

export function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
}
