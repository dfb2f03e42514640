// The recorded world: what `maint observe` writes, and what a rehearsal reads where there are no credentials. States hold
// no secrets by the step contract, and the file is redacted besides.
import { z } from 'zod';
import { type Is, type Resource, type Step, Unknown } from '../engine/contract.ts';
import type { World } from '../engine/plan.ts';
import { maint } from '../errors/next.ts';
import { type Found, leaves, readJson, wrongFile } from './json-file.ts';

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
  const { text, json } = readJson(path, NEXT);
  const parsed = WorldFile.safeParse(json);
  const problems: Found[] = [];
  if (!parsed.success) for (const issue of parsed.error.issues) problems.push(...leaves(issue, [], NEITHER));
  else checkStates(parsed.data, steps, problems);
  if (problems.length > 0 || !parsed.success) throw wrongFile(path, text, json, problems, NEXT);
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

function checkStates(file: WorldFile, steps: readonly Step[], problems: Found[]): void {
  for (const step of steps) {
    const recorded = file.steps[step.id];
    if (step.plugin.kind !== 'resource' || recorded?.uses !== step.plugin.name) continue;
    const resource = step.plugin as Resource;
    for (const [id, is] of Object.entries(recorded.resources ?? {})) {
      if (is === null || isUnknown(is)) continue;
      const state = resource.State.safeParse(is);
      if (state.success) continue;
      for (const issue of state.error.issues)
        problems.push(...leaves(issue, ['steps', step.id, 'resources', id], NEITHER));
    }
  }
}

const NEXT = [maint('observe', { output: 'world.json' })];
const NEITHER = 'is neither a state, nor null, nor {"unknown": why}';
