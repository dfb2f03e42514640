// What doctor found, as a table: each thing with how it was asked and how long that took; under it what to do.
import type { Doctored, Examined } from '../engine/verbs/doctor.ts';
import { clean, near, pad, width } from './layout.ts';
import { idWidth } from './lines.ts';
import { type Line, nextLine } from './next.ts';
import { resultJson } from './result.ts';

const MARKS = { ok: '✔', problem: '✘', warning: '!', skipped: '-' } as const;
const ADDRESS_MAX = 36;

export function doctorLines(result: Doctored): Line[] {
  const { rows, code, headline, next } = result;
  const ids = idWidth(
    0,
    rows.map(({ name }) => name),
  );
  const addresses = Math.max(0, ...rows.map((row) => Math.min(ADDRESS_MAX, width(addressOf(row)))));
  return [
    ...rows.flatMap((row) => rowLines(row, ids, addresses)),
    `${code ? `${code}  ` : ''}${headline}`,
    nextLine(...next),
  ];
}

function rowLines(row: Examined, ids: number, addresses: number): string[] {
  const { verdict, found, how, ms, effect, todo } = row;
  const start = `  ${MARKS[verdict]} ${pad(clean(row.name), ids)}  ${pad(addressOf(row), addresses)}   `;
  if (verdict === 'skipped') return [`${start}skipped: ${clean(found.join(' · '))}`];
  const [first = 'can be used', ...others] = found;
  const below = ' '.repeat(ids + 6);
  return [
    `${start}${clean(first)}  (${[how, ...(ms > 0 ? [`${ms} ms`] : [])].join(', ')})`,
    ...others.map((line) => `${below}${clean(line)}`),
    ...(effect === undefined
      ? []
      : [`${below}${[effect, ...(todo === undefined ? [] : [todo])].map(clean).join(' · ')}`]),
  ];
}

function addressOf({ address }: Examined): string {
  return near(clean(address));
}

/** The documented shape of --json: docs/json.md. */
export function doctorJson(result: Doctored): Record<string, unknown> {
  return resultJson(result);
}
