// A window's report: its journal, and the steps of the runbook that it was opened with.
import { fold } from '../engine/window.ts';
import type { Report } from '../report/report.ts';
import type { App } from './app.ts';
import { recordedWindow } from './windows.ts';

export async function windowReport(app: App, id: string | undefined, environment: string | undefined): Promise<Report> {
  const [{ reportOf }, { reportedSteps }] = await Promise.all([
    import('../report/report.ts'),
    import('../report/steps.ts'),
  ]);
  const window = await recordedWindow(app, id, environment);
  const state = fold(window.id, window.events)!;
  // A runbook that this release cannot read any more is still a window that was: the report says less of it.
  const runbook = await app.storedRunbook(state).catch(() => undefined);
  return reportOf(window.id, window.events, Date.now(), runbook && reportedSteps(runbook.steps))!;
}
