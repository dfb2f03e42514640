// The world recorded, and a window rehearsed against it or against the live one.

import type { Rehearsed } from '../engine/verbs/rehearse.ts';
import type { Prepared } from '../engine/verbs/result.ts';
import type { Runbook } from '../runbook/load.ts';
import type { WorldFile } from '../runbook/world.ts';
import { type App, preparedFrom, type RunbookChoice, readText } from './app.ts';

/** The world as a file may keep it: redacted. */
export async function observed(app: App, prepared: Prepared): Promise<WorldFile> {
  const [{ observeWhole }, { recordWorld }] = await Promise.all([
    import('../engine/verbs/rehearse.ts'),
    import('../runbook/world.ts'),
  ]);
  const { environment, name: runbook } = prepared;
  const { world, recordedAt, window } = await observeWhole(await app.host(false), prepared);
  return app.redact(recordWorld(world, prepared.steps, { environment, recordedAt, runbook, window }));
}

/** With the live world, or with a recorded one: that needs no credentials, and what is not set gets a stand-in. */
export async function rehearsed(
  app: App,
  choice: RunbookChoice,
  options: { world: string | undefined; windowMs: number | undefined },
): Promise<{ result: Rehearsed; path: string; lines: ReadonlyMap<string, number> }> {
  const { rehearseWindow } = await import('../engine/verbs/rehearse.ts');
  const runbook = await app.runbook(choice);
  const named = (await app.variables(runbook)).named.length;
  const { prepared, missing, recorded } =
    options.world === undefined
      ? { prepared: await app.prepare(choice), missing: [], recorded: undefined }
      : await recordedWorld(app, runbook, options.world);
  const { windowMs } = options;
  const result = await rehearseWindow(await app.host(false), prepared, {
    recorded,
    windowMs,
    variables: { named, missing },
  });
  const lines = new Map(runbook.steps.map((step) => [step.id, step.line]));
  return { result, path: app.shownPath(runbook.path), lines };
}

async function recordedWorld(app: App, runbook: Runbook, path: string) {
  const [{ resolveInert }, { loadWorld }, { storeOutsideWalls }] = await Promise.all([
    import('../runbook/stand-in.ts'),
    import('../runbook/world.ts'),
    import('../runbook/rules.ts'),
  ]);
  const inert = resolveInert(runbook, app.options.env, readText);
  await app.hide(inert.secrets);
  storeOutsideWalls(inert.steps, (await app.journal()).address);
  const { file, world, notes } = loadWorld(path, inert.steps);
  const prepared = await preparedFrom(runbook, inert);
  return { prepared, missing: inert.missing, recorded: { world, recordedAt: file.recordedAt, notes } };
}
