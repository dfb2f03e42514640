// The list of windows, in columns.
import { count, lasting, utc } from '../engine/words.ts';
import { advice, maint } from '../errors/next.ts';
import type { Past } from '../report/history.ts';
import { clean, pad, width } from './layout.ts';
import { type Line, nextLine } from './next.ts';

export function historyLines({ windows, more, address }: Past): Line[] {
  if (windows.length === 0)
    return [`No window in ${address} fits.`, nextLine(maint('history'), advice('another state: --state'))];
  const rows = windows.map((one) => [
    one.window,
    one.environment,
    `${one.since.slice(0, 10)} ${one.since.slice(11, 16)}Z`,
    one.handedTo === null
      ? one.label
      : `handed over ${utc(one.handedAt!, { seconds: false })}, is now with ${one.handedTo}`,
    one.readOnlyMs === null
      ? 'never read-only'
      : `read-only ${lasting(one.readOnlyMs)}${one.handedTo !== null ? ' until then' : one.ended === null ? ' so far, by the journal' : ''}`,
    one.by,
    `"${one.reason}"${one.ticket ? ` ${one.ticket}` : ''}${one.look > 0 ? ` · ${count(one.look, 'thing')} to look at` : ''}`,
  ]);
  const cells = rows.map((row) => row.map(clean));
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => width(row[column]!))));
  const lines = cells.map((row) =>
    row
      .map((text, column) => pad(text, widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  if (more > 0) lines.push(`… and ${count(more, 'older one')} (--limit ${windows.length + more})`);
  return [...lines, nextLine(maint(['report', windows[0]!.window]))];
}

export function historyJson({ windows, more, address }: Past): Record<string, unknown> {
  return { ok: true, exit: 0, state: address, windows, more };
}
