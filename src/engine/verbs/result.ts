// What every verb gives back: enough for the terminal, for --json and for the exit code; renderers decide nothing.
import { CATALOGUE, type ErrorCode } from '../../errors/catalogue.ts';
import type { ExitCode } from '../../errors/exit-codes.ts';
import { maint, type Next } from '../../errors/next.ts';
import type { Order, Step, Surface } from '../contract.ts';
import type { Plan } from '../plan.ts';
import type { Host } from '../run.ts';
import type { WindowState } from '../window.ts';
import { asOption } from '../words.ts';

/** A runbook that is ready to act: variables resolved, params parsed. */
export interface Prepared {
  environment: string;
  name: string;
  path: string;
  folder: string;
  contact: string;
  statusPage?: string | undefined;
  rollbackPlan?: string | undefined;
  overdueNotice?: string | undefined;
  onExpiry: 'hold' | 'open';
  soakMs: number;
  budgetMs: number;
  order: Order;
  steps: Step[];
  surfaces: readonly Surface[];
  /** what somebody should know before a window of this length, in words; the runbook knows it */
  outlives?(windowMs: number): string | undefined;
  text: string;
  surfacesFile?: { path: string; text: string } | undefined;
  only: string[];
  skip: string[];
  /** throws E_SAME_RESOURCE where two steps would change one thing; `ids` are the changed ones by step */
  refuseSame(ids: ReadonlyMap<string, readonly string[]>): void;
}

/** For a name of an environment that this state has never heard of, and that is close to one that it has. */
export function didYouMean(verb: 'status' | 'end' | 'abort', meant: string | undefined): Next[] {
  return meant === undefined ? [] : [maint(verb, { env: meant }, `did you mean ${meant}?`)];
}

/** What there is to do with a window that was only announced, for so many milliseconds. */
export function adoptOrCancel(windowMs: number): Next[] {
  return [
    maint('start', { window: asOption(windowMs) }, 'adopts it, when it is time'),
    maint('abort', {}, 'cancels it'),
  ];
}

export interface VerbResult {
  verb: string;
  exit: ExitCode;
  environment: string;
  window?: string | undefined;
  /** the one line that says what is true now */
  headline: string;
  code?: ErrorCode | undefined;
  /** one line each, under the headline */
  details: string[];
  /** how many things somebody should look at */
  look: number;
  next: Next[];
  plan?: Plan | undefined;
  state?: WindowState | undefined;
}

export interface Asking {
  plan: Plan;
  window: { since: string; until: string };
  backMs: number;
  startMs: number;
  /** what somebody should know before saying yes */
  warnings: readonly string[];
  /** the plan is another one than was shown before */
  changed: boolean;
  shared: boolean;
  address: string;
}

export interface VerbHost extends Host {
  /** somebody is asked before the first write, which takes time */
  asks: boolean;
  /** Shows the plan and asks; throws E_NOT_CONFIRMED or E_YES. Called again when the plan came out differently under the lease. */
  confirm(asking: Asking): Promise<void>;
}

export function failed(
  verb: string,
  code: ErrorCode,
  environment: string,
  headline: string,
  more: Partial<VerbResult> = {},
): VerbResult {
  return { verb, exit: CATALOGUE[code].exit, code, environment, headline, details: [], look: 0, next: [], ...more };
}
