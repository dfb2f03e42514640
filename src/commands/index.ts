// The explicit list of commands: oclif finds them in a bundle by it.
import { Abort } from './abort.ts';
import { Announce } from './announce.ts';
import { Completion } from './completion.ts';
import { Doctor } from './doctor.ts';
import { End } from './end.ts';
import { Extend } from './extend.ts';
import { History } from './history.ts';
import { Note } from './note.ts';
import { Observe } from './observe.ts';
import { QueueBackfill } from './queue/backfill.ts';
import { QueueDrop } from './queue/drop.ts';
import { QueueExport } from './queue/export.ts';
import { QueueList } from './queue/list.ts';
import { QueueRequeue } from './queue/requeue.ts';
import { QueueShow } from './queue/show.ts';
import { QueueStatusCommand } from './queue/status.ts';
import { Rehearse } from './rehearse.ts';
import { Report } from './report.ts';
import { RunbookCheck } from './runbook/check.ts';
import { RunbookSchema } from './runbook/schema.ts';
import { RunbookShow } from './runbook/show.ts';
import { ScopeCheck } from './scope/check.ts';
import { ScopeList } from './scope/list.ts';
import { Start } from './start.ts';
import { Status } from './status.ts';
import { Steps } from './steps.ts';
import { Verify } from './verify.ts';
import { WindowExport } from './window/export.ts';
import { WindowImport } from './window/import.ts';

export const COMMANDS = {
  abort: Abort,
  announce: Announce,
  completion: Completion,
  doctor: Doctor,
  end: End,
  extend: Extend,
  history: History,
  note: Note,
  observe: Observe,
  'queue:backfill': QueueBackfill,
  'queue:drop': QueueDrop,
  'queue:export': QueueExport,
  'queue:list': QueueList,
  'queue:requeue': QueueRequeue,
  'queue:show': QueueShow,
  'queue:status': QueueStatusCommand,
  rehearse: Rehearse,
  report: Report,
  'runbook:check': RunbookCheck,
  'runbook:schema': RunbookSchema,
  'runbook:show': RunbookShow,
  'scope:check': ScopeCheck,
  'scope:list': ScopeList,
  start: Start,
  status: Status,
  steps: Steps,
  verify: Verify,
  'window:export': WindowExport,
  'window:import': WindowImport,
};
