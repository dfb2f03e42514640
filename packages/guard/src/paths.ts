// One path, as the many servers behind the guard may read it. Gateways, frameworks and file systems differ in what they
// decode, merge, resolve, strip and ignore, and they stand in chains. A path in its usual spelling is the same to all of
// them. Any other is not interpreted at all: it may be whatever has its fixed texts in it. Both take time in proportion to
// the length of the path.

/** No escapes, no dot segments, no empty segments, no trailing slash or dot. */
const PLAIN = /^\/(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)*)?$/;
/** RFC 3986 `pchar` without `;`, at which some servers cut. */
const USUAL_CHARACTERS = /^\/(?:[A-Za-z0-9_~!$&'()*+,=:@./-]|%[0-9A-Fa-f]{2})*$/;
/** What separates, resolves, is decoded again or is cut off; and spaces or dots at an end, which Windows and Caddy drop. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: some servers cut there
const READ_DIFFERENTLY = /[/\\;?#%\x00-\x1f\x7f]|^\s|[.\s]$/;
/** How often chained servers decode. What is encoded more often hides something. */
const MOST_DECODINGS = 4;
const BREAKS = /[\t\r\n]/;
const PERCENT = 0x25;
/** `u00`, of `%u002f`. */
const UNICODE = [0x75, 0x30, 0x30];

/** The request target up to its query, as it came. A `#` stays in: some servers cut there, others do not. */
export function rawPath(target: string): string {
  const end = target.indexOf('?');
  return end < 0 ? target : target.slice(0, end);
}

export function isPlain(path: string): boolean {
  return PLAIN.test(path);
}

/**
 * The folded segments of a path that every server reads alike, up to case, Unicode form and one slash at the end.
 *
 * @returns null where servers could differ
 */
export function usualSegments(path: string): string[] | null {
  if (!USUAL_CHARACTERS.test(path)) return null;
  const given = path.slice(1).split('/');
  if (given.at(-1) === '') given.pop();
  const read: string[] = [];
  for (const segment of given) {
    const text = decoded(segment);
    if (text === null || text === '' || READ_DIFFERENTLY.test(text)) return null;
    read.push(fold(text));
  }
  return read;
}

/** Two texts that any server takes for the same are the same after this. */
export function fold(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text.toLowerCase();
  return text.toLowerCase().toUpperCase().toLowerCase().normalize('NFC');
}

/**
 * One segment of a target as everybody decodes it, or null where servers could differ: escapes that hide what separates
 * or resolves, and what is no UTF-8.
 */
export function plainSegment(segment: string): string | null {
  if (/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(segment)) return segment;
  if (segment === '' || !/^(?:[A-Za-z0-9_~!$'()*+,=:@&.-]|%[0-9A-Fa-f]{2})+$/.test(segment)) return null;
  const text = decoded(segment);
  return text === null || READ_DIFFERENTLY.test(text) || /^\.|\.\./.test(text) ? null : text;
}

/** An odd path, prepared for the question what it could be. */
export interface OddPath {
  /** Everything that it may be decoded to, folded. */
  readonly texts: readonly string[];
  /** However it is read, so many segments are left of it. */
  readonly leastSegments: number;
}

/** @returns null where it is encoded too often to look at: it could be anything */
export function oddPath(path: string): OddPath | null {
  const texts = new Set<string>();
  // Node.js gives unencoded bytes as latin1.
  const given = Buffer.from(path, /[^\0-\xff]/.test(path) ? 'utf8' : 'latin1');
  const starts = BREAKS.test(path) ? [given, withoutBreaks(given)] : [given];
  for (const start of starts) {
    const bytes = decodedFully(start);
    if (bytes === null) return null;
    for (const text of [bytes, withoutBreaks(bytes)]) {
      texts.add(text.toString('latin1'));
      texts.add(text.toString('utf8'));
    }
  }
  return { texts: [...texts].map(fold), leastSegments: leastSegments(path, [...texts]) };
}

/**
 * Whether some server could find these texts, which are folded, as segments in this order. No server makes letters but by
 * decoding, reorders, or ends a segment in the middle of a word. So a path without them is something else to everybody.
 *
 * @param most segments that there may be
 */
export function couldBe(path: OddPath, words: readonly string[], most: number): boolean {
  return path.leastSegments <= most && path.texts.some((text) => holdsInOrder(text, words));
}

function holdsInOrder(text: string, words: readonly string[]): boolean {
  let from = 0;
  for (const word of words) {
    const at = placeOf(text, word, from);
    if (at < 0) return false;
    from = at + word.length;
  }
  return true;
}

function placeOf(text: string, word: string, from: number): number {
  for (let at = text.indexOf(word, from); at >= 0; at = text.indexOf(word, at + 1)) {
    // Fastify takes the first character for a slash, whatever it is.
    if ((at <= 1 || isEdge(text, at - 1)) && isEdge(text, at + word.length)) return at;
  }
  return -1;
}

function isEdge(text: string, at: number): boolean {
  return at >= text.length || !/[a-z0-9_-]/.test(text[at] as string);
}

/**
 * Counts what surely stays: segments behind a slash of their own that begin with a letter or a digit. None, where anything
 * may be cut off or resolved.
 */
function leastSegments(path: string, texts: readonly string[]): number {
  if (!/^\/[^/\\]/.test(path) || texts.some((text) => /[;?#\0\\]|\.\./.test(text))) return 0;
  return path.match(/\/[A-Za-z0-9]/g)?.length ?? 0;
}

/** `new URL` drops them, wherever they stand. */
function withoutBreaks(bytes: Buffer): Buffer {
  return bytes.filter((byte) => byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) as Buffer;
}

function decoded(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

/** As often as it changes something. Escapes that are not UTF-8, `%u002f` and overlong forms are taken as lenient servers do. */
function decodedFully(path: Buffer): Buffer | null {
  let bytes: Buffer = Buffer.from(path);
  for (let turn = 0; turn <= MOST_DECODINGS; turn += 1) {
    const shorter = shortened(unescaped(bytes));
    if (shorter.length === bytes.length) return bytes;
    bytes = shorter;
  }
  return null;
}

/** In place, as everything that makes it shorter. */
function unescaped(bytes: Buffer): Buffer {
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    let byte = bytes[at] as number;
    if (byte === PERCENT) {
      const digits = UNICODE.every((each, index) => bytes[at + 1 + index] === each) ? at + 4 : at + 1;
      const [high, low] = [hexadecimal(bytes[digits]), hexadecimal(bytes[digits + 1])];
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low;
        at = digits + 1;
      }
    }
    bytes[length] = byte;
    length += 1;
  }
  return bytes.subarray(0, length);
}

/** Two or three bytes of UTF-8 for a character that has one. In place. */
function shortened(bytes: Buffer): Buffer {
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const three = bytes[at] === 0xe0 && (bytes[at + 1] === 0x80 || bytes[at + 1] === 0x81);
    const lead = three ? at + 1 : at;
    const first = three ? (bytes[lead] as number) | 0xc0 : (bytes[lead] as number);
    const last = bytes[lead + 1] ?? 0;
    const overlong = (first === 0xc0 || first === 0xc1) && last >= 0x80 && last <= 0xbf;
    bytes[length] = overlong ? ((first & 1) << 6) | (last & 0x3f) : (bytes[at] as number);
    if (overlong) at = lead + 1;
    length += 1;
  }
  return bytes.subarray(0, length);
}

/** @returns -1 for what is not a digit */
function hexadecimal(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}
