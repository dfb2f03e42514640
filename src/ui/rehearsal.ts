// A rehearsal as people read it, and as CI systems do: JUnit XML, and annotations of a GitHub workflow.
import { unasked } from '../engine/plan.ts';
import type { RehearsalProblem } from '../engine/rehearse.ts';
import type { Rehearsed } from '../engine/verbs/rehearse.ts';
import { count, lasting } from '../engine/words.ts';
import { MaintError } from '../errors/catalogue.ts';
import { type Problem, RunbookError } from '../runbook/problems.ts';

export function rehearsalLines(result: Rehearsed): string[] {
  const { time, world, variables, asBefore } = result;
  const start = result.rehearsal.steps.map((step) => `${step.id} ${startOf(result, step.id)}`);
  const walls = result.rehearsal.steps.length > 0 ? 'walls outside-in ok · state outside the walls ok' : '';
  const secrets = `secrets ${variables.named - variables.missing.length} of ${variables.named} set${variables.missing.length > 0 ? ` (not ${variables.missing.join(', ')})` : ''}`;
  const rights =
    result.rights !== 'not asked'
      ? `permissions ${result.rights}`
      : `permissions not asked ${world.live ? `of ${unasked(result.planned).join(', ')}` : '(recorded world)'}`;
  const over = time.startMs > time.budgetMs ? ', over the budget' : '';
  return [
    ...wrapped('start', start),
    ...wrapped('end', [
      `${asBefore.are} of ${asBefore.of} restored`,
      ...(result.leaves.length > 0 ? [`leaves behind: ${result.leaves.join(', ')}`] : []),
    ]),
    ...wrapped('check', [walls, secrets, rights]),
    ...wrapped('time', [
      `start about ${lasting(time.startMs)} of ${lasting(time.budgetMs)}${over}`,
      `way back about ${lasting(time.backMs)}`,
      `shortest window ${lasting(time.shortestWindowMs)}`,
    ]),
    ...result.notes.map((note) => `note   ${note}`),
    ...result.details.map((detail) => `  ✘ ${detail}`),
    `${result.code ? `${result.code}  ` : ''}${result.headline} ${
      world.live
        ? 'Looked at the live world.'
        : `World recorded ${stamp(world.recordedAt)}, ${lasting(world.ageMs)} ago.`
    }`,
  ];
}

/** "1 would change, 1 kept", in the words that the plan would use */
function startOf(result: Rehearsed, id: string): string {
  const step = result.rehearsal.steps.find((one) => one.id === id)!;
  const planned = result.planned.steps.find((one) => one.id === id);
  if (step.skipped) return `skipped (${step.skipped})`;
  if (planned?.missing.length) return `this account lacks ${count(planned.missing.length, 'permission')}`;
  if (step.kind === 'action') return planned?.verdict === 'runs' ? 'would run' : 'runs at the end';
  if (step.kind === 'check') return planned?.notes[0] ?? 'only at the end';
  const parts = [
    ...(step.start.change > 0 ? [`${step.start.change} would change`] : []),
    ...(step.start.inSync > 0 ? [`${step.start.inSync} in sync`] : []),
    ...(step.start.unknown > 0 ? [`cannot tell (${step.notes[0] ?? 'not seen'})`] : []),
  ];
  return parts.join(', ') || 'nothing there';
}

function wrapped(head: string, parts: readonly string[]): string[] {
  return [`${head.padEnd(6)} ${parts.join(' · ')}`];
}

function stamp(time: string): string {
  return `${time.slice(0, 16).replace('T', ' ')}Z`;
}

/** What could not be asked was not tested: not a failure of the window. */
function isError({ kind }: RehearsalProblem): boolean {
  return kind === 'unseen' || kind === 'unusable';
}

/** One test case for each step, one for the way back as a whole. */
export function rehearsalJunit(result: Rehearsed): string {
  const { steps, problems } = result.rehearsal;
  const cases = [...steps.map((step) => step.id), 'the window as a whole'].map((name) => {
    const step = steps.find((one) => one.id === name);
    const mine = problems.filter((one) => (step ? one.step === name : !steps.some((other) => other.id === one.step)));
    const inside = [
      ...(step?.skipped ? [`<skipped message=${attribute(step.skipped)}/>`] : []),
      ...mine.map((one) => `<${isError(one) ? 'error' : 'failure'} message=${attribute(one.message)}/>`),
    ];
    const head = `    <testcase classname=${attribute(`rehearse.${result.environment}`)} name=${attribute(name)} time="0"`;
    return inside.length === 0 ? `${head}/>` : `${head}>${inside.join('')}</testcase>`;
  });
  const errors = problems.filter(isError).length;
  const failures = problems.length - errors;
  const skipped = steps.filter((step) => step.skipped).length;
  const counts = `tests="${cases.length}" failures="${failures}" errors="${errors}" skipped="${skipped}" time="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="maint rehearse" ${counts}>`,
    `  <testsuite name=${attribute(`rehearse ${result.environment}`)} timestamp=${attribute(result.world.recordedAt.slice(0, 19))} ${counts}>`,
    ...cases,
    `    <system-out>${escaped(rehearsalLines(result).join('\n'))}</system-out>`,
    '  </testsuite>',
    '</testsuites>',
  ].join('\n');
}

interface Unloaded {
  name: string;
  message: string;
  place?: { file: string; line: number; column: number };
}

/**
 * What a CI system reads where nothing could be rehearsed: the runbook is not valid, is not there, or names variables
 * that are not set. Empty for the other formats, and for what is not an answer (an interruption, a bug).
 */
export function unloadedLines(format: string, error: unknown): string[] {
  if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED' || error.code === 'E_BUG') return [];
  const problems = error instanceof RunbookError ? error.problems.map(unloaded) : [];
  const all =
    problems.length > 0 ? problems : [{ name: error.code, message: [error.message, ...error.details].join('\n') }];
  if (format === 'github')
    return all.map(({ name, message, place }: Unloaded) => {
      const at = place ? `file=${property(place.file)},line=${place.line},col=${place.column},` : '';
      return `::error ${at}title=${property(`maint rehearse: ${name}`)}::${data(message)}`;
    });
  return format === 'junit' ? unloadedJunit(all) : [];
}

function unloaded({ path, message, found, allowed, nearest, file, line, column }: Problem): Unloaded {
  const words = [
    message,
    ...(found === undefined ? [] : [`found ${found}`]),
    ...(allowed === undefined ? [] : [`allowed ${allowed}`]),
    ...(nearest === undefined ? [] : [`did you mean ${nearest}?`]),
  ];
  return { name: path === '' ? file : path, message: words.join('  '), place: { file, line, column } };
}

function unloadedJunit(all: readonly Unloaded[]): string[] {
  const counts = `tests="${all.length}" failures="0" errors="${all.length}" skipped="0" time="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="maint rehearse" ${counts}>`,
    `  <testsuite name="rehearse: the runbook" ${counts}>`,
    ...all.map(({ name, message, place }) => {
      const where = place ? `${place.file}:${place.line}:${place.column}  ` : '';
      return `    <testcase classname="rehearse" name=${attribute(name)} time="0"><error message=${attribute(`${where}${message}`)}/></testcase>`;
    }),
    '  </testsuite>',
    '</testsuites>',
  ];
}

function attribute(text: string): string {
  return `"${escaped(text).replaceAll('"', '&quot;').replaceAll('\n', '&#10;')}"`;
}
function escaped(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 has no place for them, not even escaped
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '�')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
  );
}

/** Workflow commands: an annotation for each problem at its step's line in the runbook. */
export function rehearsalGithub(result: Rehearsed, path: string, lines: ReadonlyMap<string, number>): string[] {
  const problems = result.rehearsal.problems.map((one) => {
    const title = `maint rehearse${one.step ? `: ${one.step}` : ''}`;
    const line = lines.get(one.step) ?? 1;
    return `::error file=${property(path)},line=${line},title=${property(title)}::${data(one.message)}`;
  });
  const text = rehearsalLines(result).filter((line) => !line.startsWith('  ✘ '));
  const level = result.rehearsal.problems.length > 0 ? 'error' : 'notice';
  return [...problems, ...text.slice(0, -1), `::${level} title=maint rehearse::${data(text.at(-1)!)}`];
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}
function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

/** The documented shape of --json: docs/json.md. */
export function rehearsalJson(result: Rehearsed): Record<string, unknown> {
  const { rehearsal, planned, ...rest } = result;
  return { ok: result.exit === 0, ...rest, steps: rehearsal.steps, problems: rehearsal.problems, plan: planned };
}
