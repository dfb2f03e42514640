// One path, as the many servers behind the guard may read it. Gateways, frameworks and file systems differ in what they
// decode, merge, resolve and ignore, and they stand in chains. So the guard does not normalise: it collects every path
// that any chain of them could make of this one, and whoever asks takes the strictest answer.

/** Read alike by everybody: no escapes, no dot segments, no empty segments, no trailing slash or dot. */
const PLAIN = /^\/(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)*)?$/;
const MOST_CHARACTERS = 2048;
const MOST_READINGS = 64;

/** Each one is something that some server does. Every order and repetition of them is tried. */
const HABITS: readonly ((path: string) => string)[] = [
  (path) => decode(path, /[A-Za-z0-9._~-]/),
  (path) => decode(path, /\//),
  (path) => decode(path, /\\/),
  (path) => decode(path, /;/),
  (path) => decode(path, /%/),
  decodeAll,
  (path) => path.replaceAll('\\', '/'),
  (path) => path.replace(/\/{2,}/g, '/'),
  (path) => path.replace(/;[^/]*/g, ''),
  (path) => path.replace(/[?#\0].*$/s, ''),
  (path) => path.replace(/^(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2}[^/\\?#]*/, ''),
  trimSegments,
  resolveDots,
];

/** The request target up to its query, as it came. A `#` stays in: some servers cut there, others do not. */
export function rawPath(target: string): string {
  const end = target.indexOf('?');
  return end < 0 ? target : target.slice(0, end);
}

export function isPlain(path: string): boolean {
  return PLAIN.test(path);
}

/**
 * Every way to read the path, as folded segments.
 *
 * @returns null where there are too many: nobody sends such a path in good faith, and the caller takes the stricter side
 */
export function readings(path: string): string[][] | null {
  if (isPlain(path)) return [segments(path)];
  if (path.length > MOST_CHARACTERS) return null;
  const seen = new Set([path]);
  // A Set yields what is added while it is walked, so this ends when no habit finds anything new.
  for (const reading of seen) {
    for (const habit of HABITS) seen.add(habit(reading));
    if (seen.size > MOST_READINGS) return null;
  }
  return [...seen].map(segments);
}

/** Case is ignored by Express and by many gateways; empty segments and the trailing slash by most. */
export function segments(path: string): string[] {
  return path
    .split('/')
    .filter((segment) => segment !== '')
    .map((segment) => segment.normalize('NFC').toLowerCase());
}

/**
 * One segment of a target as everybody decodes it, or null where servers could differ: escapes that hide what separates
 * or resolves, and what is no UTF-8.
 */
export function plainSegment(segment: string): string | null {
  if (/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(segment)) return segment;
  if (!/^(?:[A-Za-z0-9_~!$'()*+,=:@&.-]|%[0-9A-Fa-f]{2})+$/.test(segment)) return null;
  let text: string;
  try {
    text = decodeURIComponent(segment);
  } catch {
    return null;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be in it
  return /[/\\;?#%\x00-\x1f\x7f]|^[.\s]|[.\s]$|\.\./.test(text) ? null : text;
}

function decode(path: string, which: RegExp): string {
  return path.replace(/%([0-7][0-9A-Fa-f])/g, (coded, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return which.test(character) ? character : coded;
  });
}

/** UTF-8 included, and the overlong forms of `/`, `.` and `\` that lenient decoders take. Node gives raw bytes as latin1. */
function decodeAll(path: string): string {
  const text = path
    .replace(/%c0%af/gi, '/')
    .replace(/%c0%ae/gi, '.')
    .replace(/%c1%9c/gi, '\\')
    .replace(/%u00([0-7][0-9a-f])/gi, '%$1');
  if (!/%[0-9A-Fa-f]{2}|[\x80-\xff]/.test(text)) return text;
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return /[^\0-\xff]/.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

/** Windows and Caddy drop dots and spaces at the end of a name. */
function trimSegments(path: string): string {
  return path.replace(/([^/. ])[. ]+(?=\/|$)/g, '$1');
}

function resolveDots(path: string): string {
  if (!/(?:^|\/)\.\.?(?:\/|$)/.test(path)) return path;
  const kept: string[] = [];
  for (const segment of path.split('/').slice(1)) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  return `/${kept.join('/')}`;
}
