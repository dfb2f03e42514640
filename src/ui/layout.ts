// Lines as a screen shows them: how wide they are, where they break, what colour they have. A pipe gets them as they are.
import { stripVTControlCharacters, styleText } from 'node:util';
import { homeFolder, workingFolder } from '../engine/who.ts';

/** Made when a line needs it: it takes longer than the rest of `maint status`. */
let graphemes: Intl.Segmenter | undefined;
/** Two cells: emoji, and the scripts that Unicode's East Asian Width calls wide. */
const WIDE =
  /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\uFE0F|[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6])/u;
const ASCII = /^[\x20-\x7E]*$/;
/** Characters that move the cursor, ring, or turn the direction of what follows. */
const UNPRINTABLE = /[\p{Cc}\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/gu;

/** One printable line: what servers and users wrote must not be able to paint the terminal. */
export function clean(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\s*[\r\n]+\s*/g, ' ')
    .replaceAll('\t', ' ')
    .replace(UNPRINTABLE, '');
}

/** Paths as somebody in `folder` would type them. */
export function near(text: string, folder = workingFolder() ?? '', home = homeFolder() ?? ''): string {
  const here = folder === '/' || folder === '' ? text : text.replaceAll(`${folder}/`, '');
  return home === '/' || home === '' ? here : here.replaceAll(`${home}/`, '~/');
}

function segments(text: string): Intl.Segments {
  graphemes ??= new Intl.Segmenter();
  return graphemes.segment(text);
}

/** In cells. */
export function width(text: string): number {
  if (ASCII.test(text)) return text.length;
  let cells = 0;
  for (const { segment } of segments(text)) cells += WIDE.test(segment) ? 2 : 1;
  return cells;
}

export function pad(text: string, cells: number): string {
  return text + ' '.repeat(Math.max(0, cells - width(text)));
}

export function cut(text: string, cells: number): string {
  if (width(text) <= cells) return text;
  let kept = '';
  let room = cells - 1;
  for (const { segment } of segments(text)) {
    room -= WIDE.test(segment) ? 2 : 1;
    if (room < 0) break;
    kept += segment;
  }
  return cells < 1 ? '' : `${kept.trimEnd()}…`;
}

const NEXT = 'Next: ';
/** Where a column begins: after a gap, behind the sign of a plan's line. */
const COLUMN = /(?:^| ) +(?:[-+~=!?✔✘·] )?(?=\S)/g;

/** A line that breaks between its parts only: a command that is copied from two lines would run half of it. */
export interface Flow {
  head: string;
  parts: readonly string[];
}

/** A line in as many lines as `columns` need, the rest below its last column. `undefined`: a pipe, nothing breaks. */
export function breakLine(line: string | Flow, columns: number | undefined): string[] {
  if (typeof line !== 'string') {
    const whole = `${line.head}${line.parts.join(' ')}`;
    return columns === undefined || width(whole) <= columns ? [whole] : flow(line.head, line.parts, columns);
  }
  if (columns === undefined || width(line) <= columns) return [line];
  const indent = / *$/.exec(line.slice(0, line.search(/\S|$/)))?.[0].length ?? 0;
  let hang = indent + 2;
  let head = line.slice(0, indent);
  for (const match of line.matchAll(COLUMN)) {
    const at = match.index + match[0].length;
    if (match[0].length < 2 || at > columns / 2 || columns - at < 20) continue;
    head = line.slice(0, at);
    hang = width(head);
  }
  // A break belongs after the dot that parts two things, not before it.
  const words = line.slice(head.length).match(/ *\S+(?: ·(?= |$))?/g) ?? [];
  return flow(head, words, columns, hang, '');
}

function flow(head: string, parts: readonly string[], columns: number, hang = width(head), glue = ' '): string[] {
  const lines: string[] = [];
  let line = head;
  let empty = true;
  for (const part of parts) {
    const next = empty ? part : `${glue}${part}`;
    if (!empty && width(line) + width(next) > columns) {
      lines.push(line.trimEnd());
      line = ' '.repeat(hang) + part.trimStart();
    } else line += next;
    empty = false;
  }
  lines.push(line);
  return lines;
}

type Style = Parameters<typeof styleText>[0];
const MARK_STYLES: Readonly<Record<string, Style>> = {
  '✔': 'green',
  '✘': 'red',
  '!': 'yellow',
  '?': 'yellow',
  '~': 'yellow',
  '+': 'green',
};
// The caller knows whether it is a terminal; process.stdout, which styleText would ask, may be a pipe meanwhile.
const style = (how: Style, text: string) => styleText(how, text, { validateStream: false });

/** For a terminal: the code, the marks, the words that matter at 02:00. Never changes what is written. */
export function paint(line: string): string {
  const code = /^E_[A-Z_]+(?= {2})/.exec(line)?.[0];
  if (code) return style(['bold', 'red'], code) + line.slice(code.length);
  if (line.startsWith(NEXT)) return style('bold', NEXT.trimEnd()) + line.slice(NEXT.length - 1);
  const marked = /^( {2})([✔✘!])(?= )/.exec(line) ?? /^( {2}\S+ .*? {2})([-+~=!?✘])(?= )/.exec(line);
  if (marked) {
    const [whole, before = '', mark = ''] = marked;
    const how = MARK_STYLES[mark];
    return how ? before + style(how, mark) + line.slice(whole.length) : line;
  }
  return line.replace(
    /^(\S+ is )(READ-ONLY(?: and OVERDUE)?|STILL READ-ONLY)/,
    (_, before: string, state: string) => before + style(['bold', 'yellow'], state),
  );
}

/** The place lines go to: `columns` of a terminal, or none. */
export function dress(
  lines: readonly (string | Flow)[],
  to: { columns?: number | undefined; colours: boolean },
): string[] {
  const fitted = lines.flatMap((line) => breakLine(line, to.columns));
  return to.colours ? fitted.map(paint) : fitted;
}
