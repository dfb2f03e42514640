// Somebody else's run, as its journal tells it: recorded events become the progress that the run's own terminal shows.
import type { Progress, Recorded } from '../engine/events.ts';
import { count, utc } from '../engine/words.ts';

type Ended = Extract<Progress, { type: 'step-ended' }>;

/** In the order of the journal. What only counts writes (intent, outcome) moves a step; its end is a line. */
export function progressOf({ at, event }: Recorded): Progress[] {
  const said = (text: string): Progress[] => [{ type: 'said', text: `${utc(at)}  ${text}` }];
  const ended = (step: string, result: Ended['result'], text: string, ms = 0): Progress[] => [
    { type: 'step-ended', step, label: '', result, text, ms },
  ];
  switch (event.type) {
    case 'opened':
      return said(
        `${event.by} ${event.startsAt ? 'announces' : 'opens'} ${event.environment} until ${utc(event.until, { today: Date.parse(at) })}: ${event.reason}`,
      );
    case 'run':
      return said(
        event.state === 'began'
          ? `${event.owner}: maint ${event.verb}`
          : `${event.owner}: maint ${event.verb} has ended, exit ${event.exit ?? 0}`,
      );
    case 'phase':
      return [
        { type: 'phase', phase: event.phase, undo: event.phase === 'aborted' && event.verb !== 'abort', steps: [] },
      ];
    case 'intent': {
      const { step } = event;
      return [{ type: 'step-doing', step, text: `${count(event.changes.length, 'change')} under way` }];
    }
    case 'action':
      return event.state === 'began'
        ? [{ type: 'step-doing', step: event.step, text: `under way (${event.edge})` }]
        : event.state === 'failed'
          ? ended(event.step, 'look', event.summary.join(' · '))
          : [];
    case 'settled':
      return ended(
        event.step,
        (event.looks ?? []).length > 0 ? 'look' : 'ok',
        [...event.notes, ...(event.looks ?? []).filter((look) => !event.notes.includes(look))].join(' · '),
        event.ms,
      );
    case 'failed':
      return ended(event.step, 'failed', event.message);
    case 'checked':
      // While the walls close a check is a step like any other, and ends with its own line.
      if (event.moment === 'open') return [];
      return ended(
        event.step,
        event.outcome === 'pass' && (event.looks ?? []).length === 0
          ? 'ok'
          : event.outcome === 'fail'
            ? 'failed'
            : 'look',
        [event.summary, ...event.findings].join(' · '),
      );
    case 'drift':
      return ended(event.step, 'look', `${event.id} ${event.gone ? 'is gone' : 'was changed by somebody else'}`);
    case 'left':
      return ended(event.step, 'look', `given up by ${event.by}: ${event.ids.join(', ')} (${event.reason})`);
    case 'walls':
      return said(event.state === 'closed' ? 'writes are refused' : 'writes work again');
    case 'soak':
      return said(`soaking until ${utc(event.until)}`);
    case 'extended':
      return said(`${event.by} moved the end to ${utc(event.until, { today: Date.parse(at) })}`);
    case 'moved':
      return said(`${event.by} moved it: it begins at ${utc(event.startsAt, { today: Date.parse(at) })}`);
    case 'note':
      return said(`${event.by}: ${event.text}`);
    case 'overdue':
      return said('overdue');
    case 'reached':
      return said(`${event.phase}: reached`);
    default:
      return [];
  }
}
