// Everything that a window of a runbook needs, asked: its variables, its steps, and the state. Nothing is made.
import { type Doctored, doctored, type Examined, examineSteps } from '../engine/verbs/doctor.ts';
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import type { Runbook } from '../runbook/load.ts';
import type { Resolution } from '../runbook/variables.ts';
import { type App, preparedFrom, type RunbookChoice } from './app.ts';

/** Below this a window's journal may not fit. */
const ENOUGH_BYTES = 100_000_000;
const REFUSED = 'a start would be refused';

export async function examined(app: App, choice: RunbookChoice): Promise<Doctored> {
  const runbook = await app.runbook(choice);
  const resolution = await app.variables(runbook);
  const lacking = lackingOf(resolution);
  const { prepared, variables } = await whatCanBeAsked(app, runbook, lacking);
  const { interrupt } = app.options;
  const host = { clients: await app.clients(false), interrupt, machine: await app.machine() };
  const texts = new Map((await app.shown(choice)).start.map((step) => [step.id, step.variables]));
  const place = (id: string) => {
    const line = runbook.steps.find((step) => step.id === id)?.line ?? 1;
    return [...(texts.get(id) ?? []), `${app.shownPath(runbook.path)}:${line}`].join(', ');
  };
  const [state, asked] = await Promise.all([
    stateRow(app),
    examineSteps(host, prepared, (step) => `fix it, or correct ${place(step.id)}`),
  ]);
  const steps = asked.map((row) => {
    const why = lacking.get(row.name);
    if (!why) return row;
    const found = why;
    return { ...row, verdict: 'problem' as const, found, how: 'not asked', effect: REFUSED, todo: 'set them' };
  });
  if (state.verdict === 'ok') {
    const { storeOutsideWalls } = await import('../runbook/rules.ts');
    storeOutsideWalls(prepared.steps, state.address);
  }
  const rows = [variablesRow(resolution, variables), ...steps, state];
  const bad = rows.some(({ verdict }) => verdict === 'problem');
  const next = bad ? [maint('doctor', {}, 'once it is fixed')] : [maint('rehearse', {}, 'the whole window in memory')];
  return doctored(runbook.environment, rows, next);
}

/** By step what its variables lack. */
function lackingOf(resolution: Resolution): Map<string, string[]> {
  const lacking = new Map<string, string[]>();
  if (resolution.ok) return lacking;
  const note = (step: string, why: string) => lacking.set(step, [...(lacking.get(step) ?? []), why]);
  for (const { variable, steps, why } of resolution.missing)
    for (const step of steps) note(step, `${variable} is ${why === 'not set' ? why : `missing: ${why}`}`);
  for (const { step, path, why } of resolution.unusable) note(step, `${path}: ${why}`);
  return lacking;
}

/** The steps whose variables are there; the others are aside, and so are the runbook's words where they lack one. */
async function whatCanBeAsked(app: App, runbook: Runbook, lacking: ReadonlyMap<string, string[]>) {
  const steps = runbook.steps.map((step) =>
    lacking.has(step.id) && step.skipped === undefined ? { ...step, skipped: 'its variables are missing' } : step,
  );
  let resolution = await app.variables({ ...runbook, steps });
  if (!resolution.ok) {
    const words = { contact: '', statusPage: undefined, rollbackPlan: undefined, overdueNotice: undefined };
    resolution = await app.variables({ ...runbook, ...words, steps });
  }
  if (!resolution.ok) throw new TypeError('a step whose variables are missing was not put aside');
  return { prepared: await preparedFrom({ ...runbook, steps }, resolution), variables: resolution.named.length };
}

function variablesRow(resolution: Resolution, named: number): Examined {
  const base = { name: 'variables', address: 'environment and files', how: 'read', ms: 0 };
  if (resolution.ok) return { ...base, verdict: 'ok', found: [`${named} of ${named} set`] };
  const { missing, unusable } = resolution;
  const of = Math.max(resolution.named.length, missing.length);
  const found = [
    ...(missing.length > 0
      ? [
          `${missing.length} of ${of} ${missing.length === 1 ? 'is' : 'are'} not set: ${missing.map(({ variable }) => variable).join(', ')}`,
        ]
      : []),
    ...(unusable.length > 0
      ? [`not usable: ${[...new Set(unusable.map(({ step, path }) => `${step} ${path}`))].join(', ')}`]
      : []),
  ];
  return { ...base, verdict: 'problem', found, effect: REFUSED, todo: 'set them' };
}

/** Whether a window could be recorded: the place, its rights and its space, and how far the clocks are apart. */
async function stateRow(app: App): Promise<Examined> {
  const began = performance.now();
  const took = () => Math.round(performance.now() - began);
  try {
    const { askState } = await import('../store/index.ts');
    const { state, env, version } = app.options;
    const journal = await app.journal();
    const { freeBytes } = await askState({ state, env, version });
    const { address } = journal;
    const how = journal.shared ? 'privileges, and its clock' : 'access(2), mountinfo and statfs(2)';
    const found = ['writable', ...(freeBytes === undefined ? [] : [`${gigabytes(freeBytes)} free`])];
    const base = { name: 'state', address, how };
    if (freeBytes !== undefined && freeBytes < ENOUGH_BYTES) {
      const todo = 'make room, or name another place: --state PATH';
      return { ...base, verdict: 'problem', found, ms: took(), effect: REFUSED, todo };
    }
    if (!journal.shared)
      return { ...base, verdict: 'ok', found: [[...found, "the clock is this machine's own"].join(' · ')], ms: took() };
    const { clockOff, SKEW_MS } = await import('../engine/run.ts');
    const { aheadMs, withinMs } = await clockOff(journal);
    const off = `clock within ${(Math.max(1, Math.round((Math.abs(aheadMs) + withinMs) / 100)) / 10).toFixed(1)} s`;
    if (Math.abs(aheadMs) - withinMs <= SKEW_MS)
      return { ...base, verdict: 'ok', found: [[...found, off].join(' · ')], ms: took() };
    const seconds = `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} that of the shared state`;
    const todo = 'set the clock: sudo timedatectl set-ntp true, or sudo chronyc makestep';
    const wrong = `the clock of this machine is ${seconds}; up to ${SKEW_MS / 1000} s is allowed`;
    return { ...base, verdict: 'problem', found: [wrong], ms: took(), effect: REFUSED, todo };
  } catch (error) {
    if (app.options.interrupt.signal.aborted) throw app.options.interrupt.signal.reason;
    if (!(error instanceof Error)) throw error;
    const { details = [], next = [] } = error instanceof MaintError ? error : {};
    const base = { name: 'state', address: '', verdict: 'problem' as const, how: 'asked', ms: took() };
    return {
      ...base,
      found: [error.message, ...details],
      effect: REFUSED,
      todo: next.flatMap((one) => ('advice' in one ? [one.advice] : []))[0],
    };
  }
}

function gigabytes(bytes: number): string {
  return bytes < 10_000_000_000 ? `${Math.round(bytes / 1_000_000)} MB` : `${Math.round(bytes / 1_000_000_000)} GB`;
}
