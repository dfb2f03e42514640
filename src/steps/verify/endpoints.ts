// Knocks at every way to write, where users do: a canary must be refused with our code while the walls are up, and be
// answered by the service itself once they are open. A canary that is taken has written, and is never sent again.
import { z } from 'zod';
import { guardPlace } from '../../clients/guards.ts';
import { retryAfterMs } from '../../clients/retry-after.ts';
import { type CheckContext, type CheckResult, defineCheck, type Surface, type Window } from '../../engine/contract.ts';
import type { HttpResponse, Prober } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { seconds, shouldHold, under } from './verify.ts';

const POLL_MS = 100;
const CANARY_MS = 3_000;
const ANY_STATUS: readonly number[] = Array.from({ length: 500 }, (_, i) => 100 + i);
/** In a row, for each surface: behind one address there may be several services. */
const ROUNDS = 2;

export const VerifyEndpointsParams = z.strictObject({
  url: url('the base address at which users reach the surfaces'),
});
export type VerifyEndpointsParams = z.infer<typeof VerifyEndpointsParams>;

export interface SurfaceEvidence {
  status: number | null;
  /** RFC 3339, by this machine's clock */
  firstRefusedAt: string | null;
  /** by the service itself, since the walls opened */
  firstAnsweredAt: string | null;
  /** the canary was taken: it may have written */
  wrote: boolean;
}
export interface VerifyEndpointsEvidence {
  surfaces: Record<string, SurfaceEvidence>;
  /** surfaces that nobody knocks at */
  without: string[];
  firstRefusedAt: string | null;
  firstAnsweredAt: string | null;
}

type Verdict =
  /** by us; `lacks` is what a refusal must have and this one has not */
  | { is: 'refused'; window: string | undefined; lacks: readonly string[] }
  | { is: 'wrote' }
  /** by the service itself, which did not take it */
  | { is: 'answered'; why: string }
  /** by something in front of the service */
  | { is: 'gateway'; why: string }
  | { is: 'silent'; why: string };

interface Knocked {
  surface: Surface & { canary: NonNullable<Surface['canary']> };
  seen: SurfaceEvidence;
  verdict?: Verdict;
}

export const verifyEndpoints = defineCheck<VerifyEndpointsParams, VerifyEndpointsEvidence>({
  name: 'verify/endpoints',
  proves: 'refused',
  summary:
    'a canary write per surface is refused with our code and Retry-After, and answered by the service afterwards',
  Params: VerifyEndpointsParams,
  example: { url: 'https://api.example.com' },
  address: ({ url }) => `canaries at ${guardPlace(url)}`,
  on: ['open', 'now', 'soaking'],
  asks: 'GET of the base address; any status is an answer',
  async usable(io, { url }) {
    await io.http.get({ url, expect: ANY_STATUS, timeoutMs: CANARY_MS });
    return [];
  },
  declares: ({ url }, window) =>
    withCanary(window).map(({ canary }) => ({ method: canary.method, url: under(url, canary.path) })),

  doubts: (_params, window) =>
    withCanary(window).flatMap((surface) => {
      const doubt = doubtOf(surface);
      return doubt === undefined ? [] : [`${surface.name}: ${doubt}`];
    }),

  async check(_io, context, prober) {
    const { window, moment } = context;
    // what passes is no write: nobody expects it to be refused
    const silent = window.surfaces.filter((surface) => surface.disposition !== 'pass' && !hasCanary(surface));
    const without = silent.map(({ name }) => name);
    const knocked = withCanary(window).map(
      (surface): Knocked => ({
        surface,
        seen: { status: null, firstRefusedAt: null, firstAnsweredAt: null, wrote: false },
      }),
    );
    const findings = silent.map(whyWithout);
    if (knocked.length === 0) {
      const why = window.surfaces.length === 0 ? 'the runbook names no surfaces' : 'no surface has a canary';
      return {
        outcome: 'inconclusive',
        summary: `${why}, so nothing was sent`,
        findings,
        evidence: evidenceOf([], without),
      };
    }
    if (!prober) {
      return {
        outcome: 'unknown',
        summary: 'canaries are not sent in a dry run',
        findings,
        evidence: evidenceOf([], without),
      };
    }
    const wanted = shouldHold(window, moment);
    const began = context.now();
    const result = await (wanted ? untilRefused(context, prober, knocked) : untilAnswered(context, prober, knocked));
    const took = moment === 'now' ? '' : `, after ${seconds(context.now() - began)}`;
    return {
      outcome: result.outcome,
      summary: `${result.summary}${result.outcome === 'pass' ? took : ''}`,
      findings: [...result.findings, ...findings],
      ...(result.looks && { looks: result.looks }),
      evidence: evidenceOf(knocked, without),
    };
  },
});

type Judged = Omit<CheckResult<unknown>, 'evidence'>;
type Context = CheckContext<VerifyEndpointsParams, VerifyEndpointsEvidence>;

async function untilRefused(context: Context, prober: Prober, knocked: readonly Knocked[]): Promise<Judged> {
  let rounds = 0;
  const first = knocked.find(({ surface }) => doubtOf(surface) === undefined) ?? knocked[0]!;
  const attempt = async () => {
    // The others are sent once the first one is refused: where nothing refuses, a canary may write.
    const again = first.verdict?.is === 'refused';
    if (!again) await knock(context, prober, first);
    if (first.verdict?.is === 'refused')
      await Promise.all(knocked.filter((one) => again || one !== first).map((one) => knock(context, prober, one)));
    if (knocked.some(({ seen }) => seen.wrote)) return 'wrote' as const;
    const refused = knocked.filter(isProper).length;
    rounds = refused === knocked.length ? rounds + 1 : 0;
    if (rounds === 0) context.progress(`${refused} of ${knocked.length} surfaces are refused`);
    return rounds >= (context.moment === 'now' ? 1 : ROUNDS) ? ('refused' as const) : undefined;
  };
  const end = context.moment === 'now' ? await attempt() : await context.poll(POLL_MS, attempt, context.deadline);
  const refused = knocked.filter(isProper);
  const findings = knocked.flatMap((one) => problemOf(one, true));
  const summary = `${refused.length} of ${knocked.length} surfaces answer ${answers(knocked)}`;
  if (end === 'refused') return { outcome: 'pass', summary, findings };
  const silent = knocked.every((one) => isProper(one) || !one.verdict || one.verdict.is === 'silent');
  // a summary stands alone where nothing could be told
  if (silent && end !== 'wrote') return { outcome: 'unknown', summary: [summary, ...findings].join(' · '), findings };
  return { outcome: 'fail', summary, findings };
}

async function untilAnswered(context: Context, prober: Prober, knocked: readonly Knocked[]): Promise<Judged> {
  const open = (one: Knocked) => one.verdict?.is !== 'answered' && one.verdict?.is !== 'wrote';
  const attempt = async () => {
    await Promise.all(knocked.filter(open).map((one) => knock(context, prober, one)));
    const left = knocked.filter(open).length;
    if (left > 0)
      context.progress(`${knocked.length - left} of ${knocked.length} surfaces are answered by the service`);
    return left === 0 ? true : undefined;
  };
  if (context.moment === 'now') await attempt();
  else await context.poll(POLL_MS, attempt, context.deadline);
  const left = knocked.filter(open);
  const findings = knocked.flatMap((one) => problemOf(one, false));
  const wrote = knocked.filter(({ seen }) => seen.wrote).map(({ surface }) => surface.name);
  const summary = `${knocked.length - left.length} of ${knocked.length} surfaces are answered by the service itself${wrote.length > 0 ? ` · the canary of ${wrote.join(', ')} was taken and wrote` : ''}`;
  const looks = knocked.filter(({ seen }) => seen.wrote).flatMap((one) => problemOf(one, false));
  if (left.length === 0) return { outcome: 'pass', summary, findings, ...(looks.length > 0 && { looks }) };
  // Another window holds: that these writes are refused is right, and says nothing of ours.
  const byOthers = left.every(
    ({ verdict }) => verdict?.is === 'refused' && verdict.window !== undefined && verdict.window !== context.window.id,
  );
  if (byOthers) return { outcome: 'inconclusive', summary: `${summary}; another window still holds`, findings };
  const silent = left.every(({ verdict }) => verdict?.is === 'silent');
  if (silent) return { outcome: 'unknown', summary: [summary, ...findings].join(' · '), findings };
  return { outcome: 'fail', summary, findings };
}

async function knock(context: Context, prober: Prober, one: Knocked): Promise<void> {
  const { canary } = one.surface;
  // With a key it would be stored, and applied after the window.
  const headers = Object.entries(canary.headers ?? {}).filter(([name]) => name.toLowerCase() !== 'idempotency-key');
  let answer: HttpResponse;
  try {
    answer = await prober.send(canary.method, {
      url: under(context.params.url, canary.path),
      ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
      ...(canary.body === undefined
        ? {}
        : typeof canary.body === 'string'
          ? { body: canary.body }
          : { json: canary.body }),
      timeoutMs: CANARY_MS,
    });
  } catch (error) {
    // cut off by the end of the time: the answer before says more
    if (one.verdict && context.now() >= context.deadline - 50) return;
    one.verdict = { is: 'silent', why: error instanceof Error ? error.message : String(error) };
    return;
  }
  const at = new Date(context.now()).toISOString();
  one.seen.status = answer.status;
  one.verdict = verdictOf(answer, one.surface);
  if (one.verdict.is === 'refused') one.seen.firstRefusedAt ??= at;
  if (one.verdict.is === 'wrote') one.seen.wrote = true;
  if (context.moment !== 'open' && (one.verdict.is === 'answered' || one.verdict.is === 'wrote'))
    one.seen.firstAnsweredAt ??= at;
}

function verdictOf(answer: HttpResponse, surface: Surface): Verdict {
  const { status, headers, json, brokeOff } = answer;
  const window = typeof json?.window === 'string' ? json.window : undefined;
  // Our guard says so in a header; a 204 without it is the service, which has done it.
  if (status === 204 && surface.disposition === 'drop' && surface.status === 204 && headers['read-only'] !== undefined)
    return { is: 'refused', window, lacks: [] };
  if (status >= 200 && status < 300) return { is: 'wrote' };
  if (surface.disposition === 'buffer' && KEPT_OUT.has(json?.code)) return keptOut(answer, window);
  const ours = json?.code === 'read_only' || (surface.disposition === 'buffer' && json?.code === 'queue_full');
  const wanted = surface.disposition === 'drop' && surface.status === 204 ? 503 : surface.status;
  if (!ours) {
    // a gateway without a service behind it is not the service
    const why = brokeOff
      ? `answers ${status}, and the answer broke off before it was whole`
      : `answers ${status}${typeof json?.code === 'string' ? ` ${json.code}` : ''}, not ${surface.disposition === 'buffer' ? KEYLESS : surface.disposition === 'drop' && surface.status === 204 ? '204 with our Read-Only header' : `${wanted} read_only`}`;
    return { is: [502, 503, 504].includes(status) ? 'gateway' : 'answered', why };
  }
  const lacks: string[] = [];
  // where it cannot be stored it is refused, with either
  const either = surface.disposition === 'buffer' && (status === 503 || status === 423);
  if (status !== wanted && !either) lacks.push(`the status ${wanted} (it is ${status})`);
  if (!isProblem(headers)) lacks.push(`application/problem+json (it is ${headers['content-type'] ?? 'nothing'})`);
  const retry = headers['retry-after'];
  if (retry === undefined) lacks.push('Retry-After');
  else if (retryAfterMs(retry, null, 0) === null)
    lacks.push(`a Retry-After in seconds or as a date (it is ${JSON.stringify(retry)})`);
  return { is: 'refused', window, lacks };
}

const KEYLESS = '400 idempotency_key_missing of the guard';

/** A guard that stores writes asks who may, then for the key. The canary has neither. */
const KEPT_OUT: ReadonlySet<unknown> = new Set(['idempotency_key_missing', 'not_authorized']);

/** The guard would store this write if it had what the canary has not. The service's own answers look alike. */
function keptOut({ status, headers, json }: HttpResponse, window: string | undefined): Verdict {
  if (window === undefined && headers['read-only'] === undefined)
    return { is: 'answered', why: `answers ${status} ${json.code} by itself, not ${KEYLESS}` };
  const lacks: string[] = [];
  const wanted = json.code === 'not_authorized' ? [401, 403] : [400];
  if (!wanted.includes(status)) lacks.push(`the status ${wanted.join(' or ')} (it is ${status})`);
  if (!isProblem(headers)) lacks.push(`application/problem+json (it is ${headers['content-type'] ?? 'nothing'})`);
  if (window === undefined) lacks.push('the window');
  if (headers['read-only'] === undefined) lacks.push('the Read-Only header');
  return { is: 'refused', window, lacks };
}

function isProblem(headers: HttpResponse['headers']): boolean {
  return /^application\/problem\+json\b/i.test(headers['content-type'] ?? '');
}

function isProper({ verdict }: Knocked): boolean {
  return verdict?.is === 'refused' && verdict.lacks.length === 0;
}

/** RFC 9110 §10.2.3 */
function problemOf({ surface, verdict, seen }: Knocked, wanted: boolean): string[] {
  const { name, canary } = surface;
  const sent = `${canary.method} ${canary.path}`;
  if (seen.wrote) {
    return [
      `${name}: ${sent} was answered ${seen.status}: the canary was taken and may have written; unguarded it must fail validation`,
    ];
  }
  if (!verdict) return [`${name}: ${sent} was not sent, because the first canary was not refused`];
  switch (verdict.is) {
    case 'refused':
      if (!wanted) return [`${name}: ${sent} is still refused${verdict.window ? ` for ${verdict.window}` : ''}`];
      return verdict.lacks.length > 0 ? [`${name}: ${sent} is refused, but lacks ${verdict.lacks.join(', ')}`] : [];
    case 'answered':
      return wanted ? [`${name}: ${sent} ${verdict.why}`] : [];
    case 'gateway':
    case 'silent':
      return [`${name}: ${sent} ${verdict.why}`];
  }
  return [];
}

/**
 * Why an unguarded canary might be taken, as far as surfaces.yaml tells: a schema refuses a body that lacks everything,
 * and cannot refuse what has no body.
 */
function doubtOf({ canary }: Knocked['surface']): string | undefined {
  const { method, path, body } = canary;
  if (body === undefined || method === 'DELETE')
    return `the canary ${method} ${path} has no body that a schema could refuse: unguarded it may write`;
  if (!isFilled(body)) return undefined;
  return `the canary ${method} ${path} has a body with values, which a schema may accept: unguarded it may write`;
}

function isFilled(value: unknown): boolean {
  if (value === null || value === '') return false;
  return typeof value === 'object' ? Object.values(value).some(isFilled) : true;
}

/** A canary that would be stored is none, whatever the file says: nobody may find our own write among those of the users. */
function hasCanary(surface: Surface): surface is Knocked['surface'] {
  return surface.canary !== undefined && !(surface.disposition === 'buffer' && surface.key === 'content');
}

function withCanary(window: Window): Knocked['surface'][] {
  return window.surfaces.filter(hasCanary);
}

function whyWithout({ name, kind, match, disposition, key }: Surface): string {
  if (match.path === undefined) return `${name} (${kind}) is called by name, so nobody knocks: maint scope check`;
  if (disposition === 'buffer' && key === 'content')
    return `${name} makes a key for every write, so a canary would be stored: nobody looks whether it is buffered`;
  return `${name} has no canary: nobody looks whether it is refused`;
}

/** What the surfaces should answer, each once. */
function answers(knocked: readonly Knocked[]): string {
  const codes = new Set<string>();
  const buffers = new Set<string>();
  let silent = false;
  for (const { surface, seen } of knocked) {
    if (surface.disposition === 'buffer')
      buffers.add(
        seen.status === 401 || seen.status === 403 ? `${seen.status} not_authorized` : '400 idempotency_key_missing',
      );
    else if (surface.status === 204) silent = true;
    else codes.add(String(surface.status));
  }
  return [
    ...(codes.size > 0 ? [`${[...codes].sort().join(' or ')} read_only`] : []),
    ...[...buffers].sort(),
    ...(silent ? ['204 of the guard'] : []),
  ].join(', ');
}

function evidenceOf(knocked: readonly Knocked[], without: string[]): VerifyEndpointsEvidence {
  const first = (key: 'firstRefusedAt' | 'firstAnsweredAt') =>
    knocked
      .map(({ seen }) => seen[key])
      .filter((at) => at !== null)
      .sort()[0] ?? null;
  return {
    surfaces: Object.fromEntries(knocked.map(({ surface, seen }) => [surface.name, seen])),
    without,
    firstRefusedAt: first('firstRefusedAt'),
    firstAnsweredAt: first('firstAnsweredAt'),
  };
}
