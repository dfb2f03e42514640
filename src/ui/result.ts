// What a verb gave back, as text or as JSON; and an error in the same three lines: what, why, what to type.
import type { VerbResult } from '../engine/verbs/result.ts';
import { count } from '../engine/words.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { advice, maint } from '../errors/next.ts';
import { clean, pad, width } from './layout.ts';
import { type Line, nextLine } from './next.ts';
import { planLines } from './plan.ts';

/** More than this belongs into --json. */
const DETAILS_MAX = 20;
const COLUMN_MAX = 32;

/** `exit`: with the exit code where it is not 0, for a log; on a terminal nobody needs it. */
export function resultLines(result: VerbResult, more: { exit?: boolean; full?: boolean } = {}): Line[] {
  const { headline, details, next } = result;
  const lines: Line[] = result.plan ? planLines(result.plan, { full: more.full === true }) : [];
  lines.push(clean(result.code ? `${result.code}  ${headline}` : headline), ...detailLines(details, DETAILS_MAX));
  // "Begin the end by 02:23Z:" is followed by what there is to type.
  if (headline.endsWith(':') && details.length === 0) lines.push({ next, list: true });
  else if (next.length > 0) lines.push(nextLine(...next));
  return more.exit ? withExit(lines, result.exit) : lines;
}

export function errorLines(error: MaintError, more: { exit?: boolean } = {}): Line[] {
  const lines: Line[] = [
    clean(`${error.code}  ${error.message}`),
    ...detailLines(error.details, Number.POSITIVE_INFINITY),
  ];
  if (error.next.length > 0) lines.push(nextLine(...error.next));
  return more.exit ? withExit(lines, error.exit) : lines;
}

/** Those of two columns stand below each other. */
function detailLines(details: readonly string[], most: number): string[] {
  const shown = details.slice(0, most).map((detail) => {
    const gap = / {2,}/.exec(detail.trimStart());
    if (!gap || detail.startsWith(' ')) return { first: clean(detail), rest: '' };
    return { first: clean(detail.slice(0, gap.index)), rest: clean(detail.slice(gap.index + gap[0].length)) };
  });
  const column = Math.max(0, ...shown.map(({ first, rest }) => (rest ? Math.min(COLUMN_MAX, width(first)) : 0)));
  const lines = shown.map(({ first, rest }) => `  ${rest ? `${pad(first, column)}  ${rest}` : first}`);
  const left = details.length - shown.length;
  return left > 0 ? [...lines, `  … and ${count(left, 'more', 'more')} (--json has them all)`] : lines;
}

function withExit(lines: readonly Line[], exit: number): Line[] {
  if (exit === EXIT.DONE) return [...lines];
  const after = `  exit ${exit}`;
  return lines.map((line, at) => {
    if (at < lines.length - 1) return line;
    return typeof line === 'string' ? `${line}${after}` : { ...line, after };
  });
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
    next: error.next,
    ...problems,
  };
}

/** Everything that is thrown, as an error of the catalogue. `command` is the one whose help tells more. */
export function asMaintError(error: unknown, command = ''): MaintError {
  if (error instanceof MaintError) {
    // oclif puts its own words around what a flag's parser throws
    error.message = error.message.replace(/^Parsing --[\w-]+\s+/, '').replace(/\nSee more help with --help$/, '');
    return error;
  }
  const thrown = error instanceof Error ? error : new Error(String(error));
  if (thrown.name === 'NewerStore' && 'version' in thrown) {
    return new MaintError('E_NEWER_STATE', `${thrown.message}; this is an older one. Nothing changed.`, {
      next: [advice(`install maint ${thrown.version} or later, then the same command again`)],
    });
  }
  const oclif = (thrown as { oclif?: { exit?: number } }).oclif;
  if (oclif)
    return new MaintError('E_USAGE', usageText(thrown.message), {
      next: [/flag window/.test(thrown.message) ? maint('start', { window: '30m' }) : maint(command, { help: true })],
      cause: error,
    });
  return new MaintError('E_BUG', `${thrown.name}: ${thrown.message}`, {
    details: (thrown.stack ?? '')
      .split('\n')
      .slice(1, 6)
      .map((line) => line.trim()),
    next: [maint('status'), advice('please report this')],
    cause: error,
  });
}

/** oclif's words for a wrong command line, without its frame. */
function usageText(message: string): string {
  return (
    message
      .replace(/^The following errors? occurred:\s*/, '')
      .replace(/\nSee more help with --help$/, '')
      .replace(/\n\s+/g, ' · ')
      .replace(/^Parsing (--[\w-]+) +· Expected an integer but received: (.*)$/, '$1 $2 is not a whole number.')
      .replace(
        /^Parsing (--[\w-]+) +· Expected an integer (greater|less) than or equal to (\d+) but received: (.*)$/,
        (_all, flag, bound, limit, value) => `${flag} ${value} is ${bound === 'less' ? 'more' : 'less'} than ${limit}.`,
      )
      .replace(/(Missing required flag) (?=\w)/g, '$1 --')
      // the value is as it was parsed: 15m would be 900000
      .replace(/(--[\w-]+)=\S+ cannot also be provided when using (--[\w-]+)/g, '$1 cannot be combined with $2')
      .replace(/All of the following must be provided when using (--[\w-]+): (--[\w-]+)$/, '$1 needs $2 too')
  );
}
