// What a verb gave back, as text or as JSON; and an error in the same three lines: what, why, what to type.
import type { VerbResult } from '../engine/verbs/result.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { planLines } from './plan.ts';

export function resultLines(result: VerbResult): string[] {
  const lines = result.plan ? planLines(result.plan) : [];
  lines.push(result.code ? `${result.code}  ${result.headline}` : result.headline);
  for (const detail of result.details) lines.push(`  ${detail}`);
  if (result.next.length > 0)
    lines.push(nextLine(result.next.map(({ command, why }) => (why ? `${command}  (${why})` : command))));
  return lines;
}

export function errorLines(error: MaintError): string[] {
  return [
    `${error.code}  ${error.message}`,
    ...error.details.map((detail) => `  ${detail}`),
    ...(error.next.length > 0 ? [nextLine(error.next)] : []),
  ];
}

function nextLine(next: readonly string[]): string {
  return `Next: ${next.join(' · ')}`;
}

/** The documented shape of --json: docs/json.md. */
export function resultJson(result: VerbResult): Record<string, unknown> {
  const { state, plan, ...rest } = result;
  return {
    ok: result.exit === EXIT.DONE,
    ...rest,
    ...(state
      ? { phase: state.phase, reached: state.reached, since: state.window.since, until: state.window.until }
      : {}),
    ...(plan ? { plan } : {}),
  };
}

export function errorJson(error: MaintError): Record<string, unknown> {
  const problems = 'problems' in error ? { problems: error.problems } : {};
  return {
    ok: false,
    exit: error.exit,
    code: error.code,
    headline: error.message,
    details: error.details,
    next: error.next.map((command) => ({ command })),
    ...problems,
  };
}

/** Everything that is thrown, as an error of the catalogue. */
export function asMaintError(error: unknown): MaintError {
  if (error instanceof MaintError) return error;
  const thrown = error instanceof Error ? error : new Error(String(error));
  if (thrown.name === 'NewerStore' && 'version' in thrown) {
    return new MaintError('E_NEWER_STATE', `${thrown.message}; this is an older one. Nothing changed.`, {
      next: [`npx maint@${thrown.version}`],
    });
  }
  const oclif = (thrown as { oclif?: { exit?: number } }).oclif;
  if (oclif)
    return new MaintError('E_USAGE', thrown.message.replace(/\nSee more help with --help$/, ''), {
      next: ['maint --help'],
      cause: error,
    });
  return new MaintError('E_BUG', `${thrown.name}: ${thrown.message}`, {
    details: (thrown.stack ?? '')
      .split('\n')
      .slice(1, 6)
      .map((line) => line.trim()),
    next: ['maint status', 'please report this'],
    cause: error,
  });
}
