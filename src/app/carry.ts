// A window as a file: handed over, or taken in.
import { resolve as resolvePath } from 'node:path';
import type { LeaseOptions } from '../engine/run.ts';
import type { Prepared, VerbResult } from '../engine/verbs/result.ts';
import { fold } from '../engine/window.ts';
import { MaintError } from '../errors/catalogue.ts';
import type { WindowFile } from '../runbook/window-file.ts';
import type { App } from './app.ts';

/** Hands a window over to a file, or (`copy`) only writes down what is known of it. */
export async function exportWindow(
  app: App,
  id: string,
  options: { output: string; copy: boolean } & LeaseOptions,
): Promise<{ file: WindowFile; path: string; flag: boolean }> {
  const [{ handOver, unknownWindow }, { windowFileText }, { reserveFile }] = await Promise.all([
    import('../engine/verbs/carry.ts'),
    import('../runbook/window-file.ts'),
    import('../ui/window.ts'),
  ]);
  const path = resolvePath(app.options.cwd, options.output);
  const journal = await app.journal();
  const [row] = await journal.windows({ id });
  if (!row) throw unknownWindow(id);
  // Where it cannot be written nothing may be given away.
  const reserved = reserveFile(path, options.output);
  try {
    const carried = options.copy
      ? { events: await journal.read(id), live: row.live }
      : await handOver(await app.host(true), id, path, options);
    const file: WindowFile = {
      maint: app.options.version,
      exportedAt: new Date(await journal.now()).toISOString(),
      window: id,
      environment: row.environment,
      live: carried.live,
      copy: options.copy,
      events: carried.events,
    };
    reserved.write(windowFileText(file));
    return { file, path: options.output, flag: await hasFlag(app, file) };
  } finally {
    reserved.close();
  }
}

/** Whether a flag of its can say who carries it. */
async function hasFlag(app: App, { window, events }: WindowFile): Promise<boolean> {
  const { flagSteps } = await import('../engine/verbs/carry.ts');
  const state = fold(window, events)!;
  const runbook = await app.storedRunbook(state).catch(() => undefined);
  return flagSteps(runbook?.steps ?? []).length > 0;
}

export async function importWindow(app: App, path: string, options: LeaseOptions): Promise<VerbResult> {
  const [{ takeIn }, { loadWindowFile }] = await Promise.all([
    import('../engine/verbs/carry.ts'),
    import('../runbook/window-file.ts'),
  ]);
  const file = loadWindowFile(path, app.options.version);
  // What cannot be ended here must not come here.
  const carried = fold(file.window, file.events)!;
  if (file.live) await app.storedRunbook(carried);
  const ready = file.live
    ? await app
        .prepareWindow(carried, { lead: `this laptop cannot end ${file.window} yet` })
        .catch((error: unknown) => error)
    : undefined;
  const lacking = ready instanceof MaintError ? ready : undefined;
  if (ready instanceof Error && !lacking) throw ready;
  const prepared = lacking ? undefined : (ready as { prepared: Prepared } | undefined)?.prepared;
  const result = await takeIn(await app.host(true), { ...file, from: path }, options, prepared);
  if (!lacking) return result;
  const details = [lacking.message.replace(/ Nothing changed\b.*$/, ''), ...lacking.details, ...result.details];
  return { ...result, details, look: result.look + 1 };
}
