// What is said and promised in the time zone of this process (TZ): clock.test.ts compares it with UTC's.
import { span, utc } from '../../src/engine/words.ts';
import { parseTime } from '../../src/ui/times.ts';
import { Team } from './team.ts';

const HOUR_MS = 3_600_000;
const said: string[] = [];
for (const day of ['2026-03-08', '2026-03-29', '2026-04-05', '2026-10-04', '2026-10-25', '2026-11-01']) {
  for (let hour = 0; hour < 24; hour++) {
    const now = Date.parse(`${day}T00:30:00Z`) + hour * HOUR_MS;
    const soon = new Date(now + 2 * HOUR_MS).toISOString();
    const until = parseTime(`${soon.slice(11, 16)}Z`, now, 'at', 'announce');
    said.push([until, Date.parse(until) - now, span(new Date(now).toISOString(), until), utc(until)].join(' '));
  }
  using team = new Team();
  team.time.now = Date.parse(`${day}T00:45:00Z`);
  await team.run(0, 'start');
  await team.run(0, 'extend');
  const { window } = (await team.state())!;
  said.push(`${window.since} ${window.plannedUntil} ${window.until}`);
}
console.log(JSON.stringify({ summer: new Date('2026-07-01T00:00:00Z').getHours(), said }));
