// What `maint end` is about: the open window, something of it that will never come back, a holder that nobody knows,
// or nothing any more.
import type { LeaseOptions } from '../engine/run.ts';
import type { VerbResult } from '../engine/verbs/result.ts';
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import type { App } from './app.ts';
import { liveWindow, meantEnvironment } from './windows.ts';

export interface EndFlags {
  runbook?: string | undefined;
  env?: string | undefined;
  soak?: number | undefined;
  skip?: string[] | undefined;
  leave?: string | undefined;
  holder?: string | undefined;
  reason?: string | undefined;
  'dry-run': boolean;
}

export async function endWindow(app: App, flags: EndFlags, lease: LeaseOptions): Promise<VerbResult> {
  const { end, leave, nothingToEnd } = await import('../engine/verbs/end.ts');
  const { reason = '', skip = [] } = flags;
  const choice = { runbook: flags.runbook, environment: flags.env, only: [], skip: [] };
  if (flags.holder) {
    const { removeHolder } = await import('../engine/verbs/holder.ts');
    const dryRun = flags['dry-run'];
    return await removeHolder(await app.host(!dryRun), await app.prepare(choice), flags.holder, {
      ...{ reason, dryRun, ...lease },
    });
  }
  const live = await liveWindow(app, flags.env);
  if (!live) {
    // Only to look whether the world is as it was: without a runbook there is nothing to look at.
    const prepared = await app.prepare(choice).catch((error: unknown) => {
      if (error instanceof MaintError && (error.code === 'E_NO_RUNBOOK' || error.code === 'E_SECRETS_MISSING'))
        return undefined;
      throw error;
    });
    return await nothingToEnd(
      await app.host(false),
      'end',
      prepared?.environment ?? flags.env ?? 'this state',
      prepared,
      await meantEnvironment(app, flags.env),
    );
  }
  const { prepared, state } = await app.prepareWindow(live, {
    ...{ skip, lead: `this laptop cannot end ${live.id}` },
    withoutThem: (steps) => maint('end', { skip: [...skip, ...steps].join(',') }, 'go without them for now:'),
  });
  const host = await app.host(!flags['dry-run']);
  if (flags.leave) return await leave(host, prepared, state, flags.leave, reason, lease);
  return await end(host, prepared, state, { soakMs: flags.soak, skip, dryRun: flags['dry-run'], ...lease });
}
