// The family's logic, once: watch until nothing has been written for long enough, note where everything stood, and at
// the end compare with that. What a write looks like is the backend's business; here is which moment does what.
import { z } from 'zod';
import type { CheckResult, Moment } from '../../engine/contract.ts';
import { duration, spelled } from '../../engine/secret.ts';
import { audit, concluded, glance, holdForAudit, lastLook, type Noted, nothing } from './audit.ts';
import { clock } from './ledger.ts';
import { type Context, type Evidence, tolerant, type Watched } from './sight.ts';
import { watch } from './watch.ts';

const ALL = {
  message: 'allows every write, so that nothing is checked any more',
  allowed: 'what is written to even so, by name; * stands for a part of it',
};

/** A name of `allow`; `*` in it stands for anything. */
export function allowedName() {
  return spelled(z.string().min(1), (name) => (/^\*+$/.test(name) ? ALL : undefined));
}

/** The same for a table. SQL's quotes and lists would be a name that no table has. */
export function allowedTable() {
  return spelled(z.string().min(1), (name) => {
    if (/^(public\.)?\*+$/.test(name)) return ALL;
    if (!/[,;"`]/.test(name)) return undefined;
    const names = name.split(/[,;]/).map((one) => one.replace(/["`]/g, '').trim());
    return {
      message: 'is not the name of one table',
      allowed: 'name or schema.name as the database has it, without quotes; each table is an entry',
      meant: names.filter((one) => one !== '').join(' and ') || undefined,
    };
  });
}

/** How long nothing must be seen; the default is what the slowest backend needs to see everything. */
export const For = duration().prefault('11s');
export const HoldForAudit = z
  .boolean()
  .default(false)
  .meta({ description: 'the walls stay closed until the audit is done, instead of being audited once they are open' });

/** Of a watch that begins anew with each write that it sees. */
export const WATCH_DEADLINE_MS = 60_000;

export const MOMENTS: readonly Moment[] = ['open', 'now', 'glance', 'reopen', 'audit'];

const Stored = z.object({
  at: z.iso.datetime(),
  seen: z.unknown(),
  found: z.array(z.string()).default([]),
  verdict: z.object({ outcome: z.enum(['pass', 'fail', 'inconclusive']), summary: z.string() }).optional(),
});

export async function noWrites<S>(context: Context, watched: Watched<S>): Promise<CheckResult<Evidence>> {
  const { moment, evidence, window, now } = context;
  const looks = tolerant(watched.sight, now, moment === 'open' || moment === 'now');
  if (moment === 'open') return await watch(context, watched, looks);
  const opened = notedOf(watched, evidence.open);
  if (moment === 'audit') return await auditOf(context, watched, opened);
  if (window.reopened) {
    const summary = `writes work again since ${clock(window.reopened, now())}: nothing to check`;
    return { outcome: 'pass', summary, findings: [], evidence: nothing(now()) };
  }
  if (moment === 'glance') return await glance(watched, looks, opened?.seen, now());
  if (moment === 'now')
    return opened ? await holdForAudit(context, watched, looks, opened) : await watch(context, watched, looks);
  if (!opened) return nothingNoted(now());
  return await (watched.hold ? holdForAudit : lastLook)(context, watched, looks, opened);
}

async function auditOf<S>(
  context: Context,
  watched: Watched<S>,
  opened: Noted<S> | undefined,
): Promise<CheckResult<Evidence>> {
  const { evidence, now } = context;
  const stored = Stored.safeParse(evidence.reopen);
  const before = stored.success ? concluded(stored.data) : undefined;
  if (before) return before;
  if (!opened) return nothingNoted(now());
  const last = notedOf(watched, evidence.reopen);
  if (last && Date.parse(last.at) >= Date.parse(opened.at)) return await audit(context, watched, opened, last);
  const summary = `audited until ${clock(opened.at, now())} only: nobody could look right before the walls opened`;
  return { outcome: 'inconclusive', summary, findings: [], evidence: nothing(now()) };
}

function notedOf<S>({ Seen }: Watched<S>, evidence: unknown): Noted<S> | undefined {
  const stored = Stored.safeParse(evidence);
  const seen = stored.success ? Seen.safeParse(stored.data.seen) : undefined;
  return stored.success && seen?.success ? { at: stored.data.at, seen: seen.data } : undefined;
}

function nothingNoted(now: number): CheckResult<Evidence> {
  const summary = 'nothing was noted when the walls closed, so there is nothing to compare with';
  return { outcome: 'inconclusive', summary, findings: [], evidence: nothing(now) };
}
