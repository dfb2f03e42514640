// The recorded world: what `maint observe` writes, and what a rehearsal reads where there are no credentials. States hold
// no secrets by the step contract, and the file is redacted besides.
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { type Is, type Resource, type Step, Unknown } from '../engine/contract.ts';
import type { World } from '../engine/plan.ts';
import { MaintError } from '../errors/catalogue.ts';
import { type Problem, quoted, RunbookError, shown } from './problems.ts';

const Resources = z.record(
  z.string(),
  z.union([z.null(), z.strictObject({ unknown: z.string() }), z.record(z.string(), z.unknown())]),
);
const RecordedStep = z
  .strictObject({
    uses: z.string().min(1),
    address: z.string(),
    resources: Resources.optional(),
    /** the whole step could not be seen, and why */
    unknown: z.string().optional(),
  })
  .refine((step) => (step.resources === undefined) !== (step.unknown === undefined), 'either resources or unknown');
export const WorldFile = z.strictObject({
  version: z.literal(1),
  environment: z.string().min(1),
  recordedAt: z.iso.datetime(),
  runbook: z.string().min(1),
  /** the window that was open while it was recorded */
  window: z.string().nullable(),
  steps: z.record(z.string(), RecordedStep),
});
export type WorldFile = z.infer<typeof WorldFile>;

/** Ten thousand cron lines take about 2 MB. */
const MAX_BYTES = 64 * 1024 * 1024;

export function recordWorld(
  world: World,
  steps: readonly Step[],
  facts: Pick<WorldFile, 'environment' | 'recordedAt' | 'runbook' | 'window'>,
): WorldFile {
  const recorded: WorldFile['steps'] = {};
  for (const step of steps) {
    const seen = world.get(step.id);
    if (seen === undefined) continue;
    const base = { uses: step.plugin.name, address: step.plugin.address(step.params) };
    if (seen instanceof Unknown) recorded[step.id] = { ...base, unknown: seen.why };
    else {
      const resources = [...seen].map(([id, is]) => [id, is instanceof Unknown ? { unknown: is.why } : is]);
      recorded[step.id] = { ...base, resources: Object.fromEntries(resources) };
    }
  }
  return { version: 1, ...facts, steps: recorded };
}

/** Reads and checks a world for these steps. E_NO_FILE (64), or E_RUNBOOK (65) with every problem and its place. */
export function loadWorld(path: string, steps: readonly Step[]): { file: WorldFile; world: World; notes: string[] } {
  const text = read(path);
  const json = parse(text, path);
  const parsed = WorldFile.safeParse(json);
  const problems: Found[] = [];
  if (!parsed.success) for (const issue of parsed.error.issues) problems.push(...leaves(issue, []));
  else checkStates(parsed.data, steps, problems);
  if (problems.length > 0 || !parsed.success) throw wrong(path, text, json, problems);
  return { file: parsed.data, ...worldOf(parsed.data, steps) };
}

function worldOf(file: WorldFile, steps: readonly Step[]): { world: World; notes: string[] } {
  const world: World = new Map();
  const notes: string[] = [];
  for (const step of steps) {
    if (step.plugin.kind !== 'resource' || step.skipped) continue;
    const recorded = file.steps[step.id];
    if (!recorded) world.set(step.id, new Unknown('not in the recorded world'));
    else if (recorded.uses !== step.plugin.name)
      world.set(step.id, new Unknown(`recorded with ${recorded.uses}, not with ${step.plugin.name}`));
    else if (recorded.unknown !== undefined) world.set(step.id, new Unknown(recorded.unknown));
    else
      world.set(
        step.id,
        new Map(
          Object.entries(recorded.resources ?? {}).map(([id, is]): [string, Is<unknown> | Unknown] => [
            id,
            isUnknown(is) ? new Unknown(is.unknown) : is,
          ]),
        ),
      );
  }
  const more = Object.keys(file.steps).filter((id) => !steps.some((step) => step.id === id));
  if (more.length > 0) notes.push(`recorded, and no step of this runbook: ${more.join(', ')}`);
  if (file.window) notes.push(`recorded while ${file.window} was open: it shows the world as we had left it`);
  return { world, notes };
}

function isUnknown(is: unknown): is is { unknown: string } {
  return is !== null && typeof is === 'object' && Object.keys(is).join() === 'unknown';
}

interface Found {
  path: PropertyKey[];
  message: string;
}
type Issue = z.core.$ZodIssue;

function leaves(issue: Issue, base: readonly PropertyKey[]): Found[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: [...path, key], message: 'is no key that is known here' }));
  if (issue.code === 'invalid_union') return [{ path, message: 'is neither a state, nor null, nor {"unknown": why}' }];
  if (/received undefined$/.test(issue.message)) return [{ path, message: 'is missing' }];
  return [{ path, message: issue.message.replace(/^Invalid input: /, '') }];
}

function checkStates(file: WorldFile, steps: readonly Step[], problems: Found[]): void {
  for (const step of steps) {
    const recorded = file.steps[step.id];
    if (step.plugin.kind !== 'resource' || recorded?.uses !== step.plugin.name) continue;
    const resource = step.plugin as Resource;
    for (const [id, is] of Object.entries(recorded.resources ?? {})) {
      if (is === null || isUnknown(is)) continue;
      const state = resource.State.safeParse(is);
      if (state.success) continue;
      for (const issue of state.error.issues) problems.push(...leaves(issue, ['steps', step.id, 'resources', id]));
    }
  }
}

function read(path: string): string {
  const noFile = (why: string) =>
    new MaintError('E_NO_FILE', `${quoted(path)} ${why}.`, { next: ['maint observe --output world.json'] });
  let bytes: Buffer;
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw noFile('is a folder');
    if (!stat.isFile()) throw noFile('is no plain file');
    if (stat.size > MAX_BYTES) throw wrong(path, '', undefined, [{ path: [], message: 'is larger than 64 MB' }]);
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof MaintError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw noFile(
      code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : `cannot be read (${code})`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw wrong(path, '', undefined, [{ path: [], message: 'is no UTF-8 text' }]);
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const offset = Number(/at position (\d+)/.exec(message)?.[1] ?? (text.trim() === '' ? 0 : text.length));
    const what = text.trim() === '' ? 'is empty' : `is no JSON: ${message.replace(/ (in JSON )?at position.*/, '')}`;
    throw new RunbookError(path, [{ file: path, ...at(text, offset), path: '', code: 'syntax', message: what }], NEXT);
  }
}

const NEXT = ['maint observe --output world.json'];

function wrong(path: string, text: string, json: unknown, found: readonly Found[]): RunbookError {
  const problems = found.map((one): Problem => {
    const value = valueAt(json, one.path);
    return {
      file: path,
      ...at(text, offsetOf(text, one.path)),
      path: one.path
        .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`))
        .join(''),
      code: 'invalid',
      message: one.message,
      found: value === undefined ? undefined : shown(value),
    };
  });
  return new RunbookError(path, problems, NEXT);
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  let is: unknown = json;
  for (const key of path) {
    if (is === null || typeof is !== 'object' || !Object.hasOwn(is, key)) return undefined;
    is = (is as Record<PropertyKey, unknown>)[key];
  }
  return is;
}

/** Where a key stands: each one looked for after the one before. Good enough for a file that a program wrote. */
function offsetOf(text: string, path: readonly PropertyKey[]): number {
  let from = 0;
  for (const key of path) {
    const next = typeof key === 'string' ? text.indexOf(`${JSON.stringify(key)}`, from) : -1;
    if (next >= 0) from = next;
  }
  return from;
}

function at(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const last = before.lastIndexOf('\n');
  return { line: before.split('\n').length, column: offset - last };
}
