// The surfaces as a table, and what of them somebody should look at.
import { count } from '../engine/words.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { advice, blank, maint, type Next } from '../errors/next.ts';
import type { ListedSurface, Scope } from '../report/scope.ts';
import { clean, pad, width } from './layout.ts';
import { type Line, nextLine } from './next.ts';

export interface Listed {
  path: string | undefined;
  runbook: string;
  surfaces: ListedSurface[];
  shortestTokenLifeMs: number | undefined;
}

export function listLines({ path, runbook, surfaces }: Listed): Line[] {
  if (path === undefined || surfaces.length === 0)
    return [
      `${runbook} names no surfaces: guards refuse unsafe methods and pass safe ones, and nobody knocks.`,
      nextLine(advice('write surfaces.yaml and add `surfaces: ./surfaces.yaml`'), advice('docs/surfaces.md')),
    ];
  return [
    `${path}: ${count(surfaces.length, 'surface')}; what none names is refused where its method is unsafe.`,
    ...table(
      surfaces.map((one) => [
        one.name,
        one.kind,
        one.match,
        one.disposition === 'refuse' || one.disposition === 'drop'
          ? `${one.disposition} ${one.status}`
          : one.disposition,
        [
          ...(one.order === null ? [] : [`in order of ${one.order}`]),
          ...(one.purpose === null ? [] : [one.purpose]),
          ...(one.owner === null ? [] : [one.owner]),
          ...(one.canary === null && one.disposition !== 'pass' ? ['no canary'] : []),
        ].join(' · '),
      ]),
    ),
    nextLine(maint('scope check', {}, 'what the guards have seen')),
  ];
}

export function listJson({ path, runbook, surfaces, shortestTokenLifeMs }: Listed): Record<string, unknown> {
  return { ok: true, exit: 0, runbook, path: path ?? null, shortestTokenLifeMs: shortestTokenLifeMs ?? null, surfaces };
}

/** A write that no surface names, or one that a canary made, is for a human; the rest is said. */
export function scopeExit({ unnamed, canaries }: Scope): ExitCode {
  return unnamed.length > 0 || canaries.some(({ wrote }) => wrote) ? EXIT.HUMAN : EXIT.DONE;
}

export function scopeLook({ unnamed, unknown, neverSeen, canaries, guards }: Scope): number {
  const wrote = canaries.filter((canary) => canary.wrote).length;
  const mute = guards.filter(({ problem, counts }) => problem !== null || !counts).length;
  const other = guards.filter(({ list }) => list === 'other').length;
  return unnamed.length + unknown.length + neverSeen.length + wrote + mute + other;
}

export function scopeLines(scope: Scope): Line[] {
  const { surfaces, unnamed, unknown, guards, canaries, neverSeen } = scope;
  const answered = guards.filter(({ problem }) => problem === null).length;
  const look = scopeLook(scope);
  const lines = [
    `${count(surfaces.length, 'surface')} · ${answered} of ${count(guards.length, 'guard')} answered · ${look === 0 ? 'nothing to look at.' : `${count(look, 'thing')} to look at:`}`,
    ...table(
      surfaces.map((one) => {
        const canary = canaries.find(({ surface }) => surface === one.name);
        return [one.seen ? '✔' : '?', one.name, counted(one), canary ? knocked(canary) : ''];
      }),
    ),
    ...unnamed.map(
      ({ method, path, count: n }) => `  ✘ ${method} ${path}  written ${times(n)}, and no surface names it`,
    ),
    ...unknown.map((one) => `  ! ${one.name}  ${counted(one)}, and surfaces.yaml does not have it`),
    ...(neverSeen.length > 0 ? [`  ? never seen by a guard: ${neverSeen.join(', ')}`] : []),
    ...guards.flatMap(otherList),
    ...guards.flatMap(({ guard, problem, counts }) => {
      if (problem !== null) return [`  ? ${guard}  ${problem}`];
      return counts ? [] : [`  ? ${guard}  does not count by surface: its guard is of an earlier release`];
    }),
    ...(canaries.length === 0 ? ['  ? no canary has knocked yet: verify/endpoints does, while a window is open'] : []),
  ];
  return [...lines.map(clean), nextLine(...nextOf(scope))];
}

function otherList({ guard, list, lacks, extra }: Scope['guards'][number]): string[] {
  if (list !== 'other') return [];
  const parts = [
    ...(lacks.length > 0 ? [`it lacks ${some(lacks)}`] : []),
    ...(extra.length > 0 ? [`it has ${some(extra)}, which surfaces.yaml does not have`] : []),
  ];
  const how = parts.length > 0 ? parts.join(' · ') : 'the names are the same, and what they match or do is not';
  return [`  ! ${guard}  runs another list than surfaces.yaml: ${how}`];
}

function some(names: readonly string[]): string {
  return names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}

function nextOf({ unnamed, guards }: Scope): Next[] {
  const first = unnamed[0];
  if (first)
    return [
      advice(`name it: a surface with match: { methods: [${first.method}], path: "${first.path}" }`),
      maint('scope list'),
    ];
  const old = guards.find(({ list }) => list === 'other');
  if (old) return [advice(`deploy ${old.guard} with surfaces.yaml, and start it again`), maint('scope list')];
  if (guards.some(({ problem }) => problem !== null))
    return [maint('scope check', { guard: blank('https://…') }), maint('scope list')];
  return [maint('scope list'), maint('verify')];
}

export function scopeJson(scope: Scope): Record<string, unknown> {
  const exit = scopeExit(scope);
  return { ok: exit === EXIT.DONE, exit, look: scopeLook(scope), ...scope };
}

function counted(seen: { refused: number; queued: number; dropped: number; passed: number }): string {
  const parts = (['refused', 'queued', 'dropped', 'passed'] as const)
    .filter((key) => seen[key] > 0)
    .map((key) => `${key} ${seen[key]}`);
  return parts.join(' · ') || 'never seen';
}

function knocked({ status, firstRefusedAt, wrote }: Scope['canaries'][number]): string {
  if (wrote) return `canary WROTE (answered ${status})`;
  if (firstRefusedAt !== null) return `canary refused since ${firstRefusedAt.slice(11, 19)}Z`;
  return status === null ? 'canary: nobody answered' : `canary answered ${status}`;
}

function times(n: number): string {
  return n === 1 ? 'once' : `${n} times`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(clean));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => width(row[column] ?? ''))));
  return cells.map((row) => `  ${row.map((text, column) => pad(text, widths[column] ?? 0)).join('  ')}`.trimEnd());
}
