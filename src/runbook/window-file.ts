// A window as a file: what `maint window export` writes, and another state takes in. Variables are unresolved in it and
// states hold no secrets; who changes a state in it would change what the end writes, so that a digest goes with it.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { JournalEvent, Recorded } from '../engine/events.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, blank, maint } from '../errors/next.ts';
import { type Found, leaves, readJson, wrongFile } from './json-file.ts';

const text = z.string();
const texts = z.array(text);
const time = z.iso.datetime({ offset: true });
const phase = z.enum(['announced', 'open', 'soaking', 'closed', 'aborted']);
const state = z.record(text, z.unknown()).nullable();
const step = z.string().min(1);
const at = <T extends JournalEvent['type'], S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), ...shape });

/** Every event that this release knows; a new one must be added here, or this does not compile. */
const EVENTS = {
  opened: at('opened', {
    environment: z.string().min(1),
    startsAt: time.optional(),
    until: time,
    reason: text,
    ticket: text.optional(),
    by: text,
    contact: text,
    statusPage: text.optional(),
    rollbackPlan: text.optional(),
    overdueNotice: text.optional(),
    onExpiry: z.enum(['hold', 'open']),
    soakMs: z.number().nonnegative(),
    budgetMs: z.number().nonnegative(),
    order: z.enum(['roles', 'strict']).optional(),
    version: text,
    runbook: z.strictObject({
      name: text,
      path: text,
      folder: text,
      text,
      surfaces: z.strictObject({ path: text, text }).optional(),
    }),
    only: texts,
    skip: texts,
  }),
  moved: at('moved', { startsAt: time, until: time, by: text }),
  began: at('began', { until: time, by: text }),
  phase: at('phase', { phase, verb: text }),
  reached: at('reached', { phase }),
  extended: at('extended', { until: time, by: text }),
  overdue: at('overdue', {}),
  note: at('note', { text, by: text }),
  walls: at('walls', { state: z.enum(['closed', 'open']) }),
  intent: at('intent', { step, changes: z.array(z.strictObject({ id: text, from: state, to: state })) }),
  outcome: at('outcome', { step, results: z.array(z.strictObject({ id: text, is: state })) }),
  missed: at('missed', { step, ids: texts, why: text }),
  spawned: at('spawned', { step, pid: z.int().positive(), startTime: text, host: text }),
  released: at('released', { step, ids: texts }),
  drift: at('drift', { step, id: text, ours: state, now: state, released: z.boolean(), gone: z.boolean() }),
  left: at('left', { step, ids: texts, reason: text, by: text, wall: z.literal(true).optional() }),
  breach: at('breach', { step, ids: texts, heldUntil: time }),
  action: at('action', {
    step,
    edge: z.enum(['open', 'reopen', 'closed']),
    state: z.enum(['began', 'done', 'failed']),
    summary: texts,
    data: z.unknown().optional(),
  }),
  checked: at('checked', {
    step,
    moment: z.enum(['before', 'open', 'now', 'reopen', 'audit', 'soaking']),
    outcome: z.enum(['pass', 'fail', 'inconclusive', 'unknown']),
    summary: text,
    findings: texts,
    looks: texts.optional(),
    evidence: z.unknown().optional(),
  }),
  soak: at('soak', { until: time }),
  settled: at('settled', {
    step,
    phase,
    ms: z.number(),
    changes: z.int().nonnegative(),
    notes: texts,
    looks: texts.optional(),
  }),
  failed: at('failed', { step, phase, code: text, message: text, ids: texts, next: text.optional() }),
  handed: at('handed', { to: text, by: text }),
  received: at('received', { from: text, by: text, carrier: text.optional() }),
  run: at('run', { state: z.enum(['began', 'ended']), verb: text, owner: text, exit: z.int().optional() }),
} as const satisfies { [T in JournalEvent['type']]: z.ZodType<unknown> };

const Entry = z.strictObject({
  seq: z.int().positive(),
  at: time,
  token: z.int().nonnegative(),
  event: z.looseObject({ type: text }),
});
const WindowFileSchema = z.strictObject({
  version: z.literal(1),
  /** the release that wrote it */
  maint: text,
  exportedAt: time,
  window: z.string().regex(/^w-[0-9a-z]{1,32}$/),
  environment: z.string().min(1),
  /** not over when it was exported */
  live: z.boolean(),
  /** `--copy`: the state that it comes from goes on acting on it */
  copy: z.boolean(),
  /** of everything else, as JSON without spaces */
  sha256: text,
  events: z.array(Entry).min(1),
});

export interface WindowFile {
  maint: string;
  exportedAt: string;
  window: string;
  environment: string;
  live: boolean;
  copy: boolean;
  events: Recorded[];
}

export function windowFileText(file: WindowFile): string {
  const { events, ...head } = { version: 1, ...file };
  const whole = { ...head, events };
  return `${JSON.stringify({ ...head, sha256: digest(whole), events }, null, 1)}\n`;
}

function digest(whole: Record<string, unknown>): string {
  const { sha256: _, ...rest } = whole;
  return createHash('sha256').update(JSON.stringify(rest)).digest('hex');
}

const NEXT = [maint(['window export', blank('ID')], {}, 'export it again where it came from:')];

/** E_NO_FILE (64); E_NEWER_STATE (64) where a newer release wrote what this one does not know; E_RUNBOOK (65) with every problem. */
export function loadWindowFile(path: string, release: string): WindowFile {
  const { text: source, json } = readJson(path, NEXT);
  const head = z.looseObject({ version: z.number(), maint: text }).safeParse(json);
  const newer = head.success && isNewer(head.data.maint, release);
  const parsed = WindowFileSchema.safeParse(json);
  const problems: Found[] = [];
  if (parsed.success) checkEvents(parsed.data.events, parsed.data, problems);
  else for (const issue of parsed.error.issues) problems.push(...leaves(issue, [], 'is none of what is allowed here'));
  if (problems.length > 0 && head.success && (newer || head.data.version > 1))
    throw new MaintError(
      'E_NEWER_STATE',
      `${JSON.stringify(path)} was written by maint ${head.data.maint}; this is ${release}. Nothing changed.`,
      { next: [advice(`install maint ${head.data.maint} or later, then maint window import ${path}`)] },
    );
  if (problems.length === 0 && parsed.success && parsed.data.sha256 !== digest(json as Record<string, unknown>))
    problems.push({
      path: ['sha256'],
      message: 'is not the digest of this file: something in it was changed after the export',
      allowed: 'the file as it was exported',
    });
  if (problems.length > 0 || !parsed.success) throw wrongFile(path, source, json, problems, NEXT);
  const { version: _, sha256: __, events, ...facts } = parsed.data;
  return { ...facts, events: events as unknown as Recorded[] };
}

function checkEvents(
  events: readonly z.infer<typeof Entry>[],
  file: { window: string; environment: string },
  problems: Found[],
): void {
  for (const [index, { seq, event }] of events.entries()) {
    const place = ['events', index];
    if (seq !== index + 1)
      problems.push({
        path: [...place, 'seq'],
        message: 'does not follow the one before',
        allowed: String(index + 1),
      });
    if (!Object.hasOwn(EVENTS, event.type)) {
      const allowed = Object.keys(EVENTS).join(', ');
      problems.push({ path: [...place, 'event', 'type'], message: 'is no event that is known here', allowed });
      continue;
    }
    const parsed = EVENTS[event.type as JournalEvent['type']].safeParse(event);
    for (const issue of parsed.error?.issues ?? []) problems.push(...leaves(issue, [...place, 'event'], 'is no state'));
    if ((event.type === 'opened') !== (index === 0))
      problems.push({
        path: [...place, 'event', 'type'],
        message: 'a window begins with one "opened", and has no other',
        allowed: index === 0 ? 'opened' : 'any other',
      });
    if (index === 0 && event.type === 'opened' && event['environment'] !== file.environment)
      problems.push({
        path: ['environment'],
        message: 'is not that of its first event',
        allowed: String(event['environment']),
      });
  }
}

/** "1.10.0" after "1.9.3"; what is no number counts as nothing. */
function isNewer(theirs: string, ours: string): boolean {
  const [a, b] = [theirs, ours].map((release) =>
    release
      .split(/[.-]/)
      .slice(0, 3)
      .map((part) => Number(part) || 0),
  );
  for (const index of [0, 1, 2]) if (a![index] !== b![index]) return (a![index] ?? 0) > (b![index] ?? 0);
  return false;
}
