// Times as people type them on the command line.
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';

const CLOCK = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?Z$/;
const FULL = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;

const SOON_MS = 12 * 3_600_000;

/** "03:30Z": the next such time after `now` (epoch ms), at most 12 hours ahead; or RFC 3339. Returns RFC 3339 in UTC. */
export function parseUntil(text: string, now: number): string {
  return parseTime(text, now, 'until', 'extend');
}

/** The same for another flag: its name, and the command for "next". */
export function parseTime(text: string, now: number, flag: 'until' | 'at', command: string): string {
  const clock = CLOCK.exec(text);
  if (clock) {
    const at = new Date(now);
    at.setUTCHours(Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0), 0);
    const passed = at.getTime() <= now;
    if (passed) at.setUTCDate(at.getUTCDate() + 1);
    // A time that has just passed is a slip, not tomorrow.
    if (at.getTime() - now <= SOON_MS) return at.toISOString();
    throw new MaintError(
      'E_USAGE',
      `--${flag} ${text} ${passed ? 'has passed today' : 'is more than 12 hours away'}; it is ${new Date(now).toISOString().slice(11, 16)}Z now. Nothing changed.`,
      {
        next: [
          ...(flag === 'until' ? [maint('extend', { by: '15m' })] : []),
          maint(command, { [flag]: `${at.toISOString().slice(0, 16)}Z` }, `${passed ? 'tomorrow' : 'today'}?`),
        ],
      },
    );
  }
  const full = FULL.test(text) && isDay(text.slice(0, 10)) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(full)) return new Date(full).toISOString();
  throw new MaintError('E_USAGE', `--${flag} ${text} is no time.`, {
    details: ['allowed: a time of day in UTC (03:30Z), or date and time (2026-12-01T03:30Z)'],
    next: [maint(command, { [flag]: '03:30Z' })],
  });
}

/** Date.parse makes March of February 30th. */
function isDay(text: string): boolean {
  const ms = Date.parse(text);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** "2026-11-01": that day's beginning in UTC; or RFC 3339. Returns RFC 3339 in UTC. */
export function parseSince(text: string, flag = 'since', command = 'history'): string {
  const form = DAY.test(text) || FULL.test(text);
  const ms = form && isDay(text.slice(0, 10)) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return new Date(ms).toISOString();
  throw new MaintError('E_USAGE', `--${flag} ${text} is no day.`, {
    details: ['allowed: a day (2026-11-01, from 00:00 UTC), or date and time (2026-11-01T02:00Z)'],
    next: [maint(command, { [flag]: '2026-11-01' })],
  });
}
