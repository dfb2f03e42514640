// Takes secrets out of whatever leaves the program: the secret itself, and the forms in which protocols, URLs, JSON and
// tools print it.

/** Returns the same kind of thing with every secret replaced by `[redacted]`. Objects are copied, never changed. */
export type Redactor = <T>(value: T) => T;

const MARK = '[redacted]';

/**
 * `secrets` are the values as they are used. Values shorter than four characters would tear ordinary text apart, so
 * they are replaced only where they stand alone as a value (`key=x`, `"key": "x"`). Passwords in URLs always go.
 */
export function createRedactor(secrets: readonly string[]): Redactor {
  const whole = new Set<string>();
  for (const secret of secrets) {
    // what is part of the mark itself would be found again in its own replacement
    if (secret === '' || MARK.includes(secret)) continue;
    whole.add(secret);
    // a key in several lines (PEM) is printed line by line by some tools
    for (const line of secret.split(/\r?\n/)) if (line.trim().length >= 16) whole.add(line.trim());
  }
  const long = [...whole].filter((secret) => secret.length >= 4);
  const short = [...whole].filter((secret) => secret.length < 4);
  const plain = alternation(long.flatMap(textForms));
  const encoded = alternation(long.flatMap(base64Cores));
  const alone = alternation(short.flatMap(textForms), '(?<=[=:]\\s{0,4}["\']?)', '(?=["\']?(?:[\\s,;&}\\]@]|$))');

  function text(value: string): string {
    if (whole.has(value)) return MARK;
    let out = value;
    if (plain) out = out.replace(plain, MARK);
    if (encoded) out = replaceRuns(out, encoded);
    if (alone) out = out.replace(alone, MARK);
    return redactUserinfo(out);
  }

  function any(value: unknown, seen: WeakMap<object, unknown>): unknown {
    if (typeof value === 'string') return text(value);
    if (typeof value !== 'object' || value === null) return value;
    const known = seen.get(value);
    if (known !== undefined) return known;
    if (Array.isArray(value)) {
      const copy: unknown[] = [];
      seen.set(value, copy);
      for (const item of value) copy.push(any(item, seen));
      return copy;
    }
    if (value instanceof Map) {
      const copy = new Map();
      seen.set(value, copy);
      for (const [key, item] of value) copy.set(any(key, seen), any(item, seen));
      return copy;
    }
    if (value instanceof Set) {
      const copy = new Set();
      seen.set(value, copy);
      for (const item of value) copy.add(any(item, seen));
      return copy;
    }
    if (value instanceof Error) {
      // message and stack are not enumerable; the copy stays an instance of the same class
      const copy = Object.create(Object.getPrototypeOf(value));
      seen.set(value, copy);
      for (const key of Object.getOwnPropertyNames(value)) {
        const enumerable = Object.prototype.propertyIsEnumerable.call(value, key);
        const item = any((value as unknown as Record<string, unknown>)[key], seen);
        Object.defineProperty(copy, key, { value: item, enumerable, writable: true, configurable: true });
      }
      return copy;
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return value;
    const copy: Record<string, unknown> = {};
    seen.set(value, copy);
    for (const [key, item] of Object.entries(value)) {
      // defineProperty: a key named __proto__ is data here
      Object.defineProperty(copy, text(key), {
        value: any(item, seen),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return copy;
  }

  return <T>(value: T): T => any(value, new WeakMap()) as T;
}

/** Passwords in URLs, whether anybody declared them or not; over http a lone user name is usually a token. */
export function redactUserinfo(text: string): string {
  if (!text.includes('://')) return text;
  return text.replace(
    /\b([a-z][a-z0-9+.-]{0,20}:\/\/)([^\s/?#"'<>]{1,2000})@/gi,
    (_all, scheme: string, userinfo: string) => {
      const colon = userinfo.indexOf(':');
      if (colon >= 0) return `${scheme}${userinfo.slice(0, colon)}:${MARK}@`;
      return /^https?:/i.test(scheme) ? `${scheme}${MARK}@` : `${scheme}${userinfo}@`;
    },
  );
}

/** Replaces the whole run of base64 around each hit. By hand: a pattern that began with `[…]*` would be quadratic. */
function replaceRuns(text: string, core: RegExp): string {
  let out = '';
  let from = 0;
  for (const hit of text.matchAll(core)) {
    if (hit.index < from) continue;
    let start = hit.index;
    while (start > from && BASE64.test(text[start - 1]!)) start -= 1;
    let end = hit.index + hit[0].length;
    while (end < text.length && BASE64.test(text[end]!)) end += 1;
    while (end < text.length && text[end] === '=') end += 1;
    out += text.slice(from, start) + MARK;
    from = end;
  }
  return out + text.slice(from);
}

const BASE64 = /[A-Za-z0-9+/_-]/;

function alternation(forms: readonly string[], before = '', after = ''): RegExp | undefined {
  if (forms.length === 0) return undefined;
  // the longest first: a secret that contains another one is replaced as a whole
  const sorted = [...new Set(forms)].sort((a, b) => b.length - a.length);
  return new RegExp(`${before}(?:${sorted.map(escapeRegExp).join('|')})${after}`, 'g');
}

function textForms(secret: string): string[] {
  const json = JSON.stringify(secret).slice(1, -1);
  const forms = [
    secret,
    json,
    JSON.stringify(json).slice(1, -1),
    asciiJson(secret),
    json.replaceAll('/', '\\/'),
    secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
  ];
  if (secret.isWellFormed()) {
    const component = encodeURIComponent(secret);
    const strict = component.replace(/[!'()*]/g, percent);
    forms.push(encodeURI(secret), component, strict, strict.replaceAll('%20', '+').replaceAll('%7E', '~'));
    forms.push(new URLSearchParams([['', secret]]).toString().slice(1));
    forms.push(userinfo(secret));
    // everything encoded, as some clients do it
    forms.push([...Buffer.from(secret)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''));
  }
  const lower = forms.map((form) => form.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()));
  return [...forms, ...lower].filter((form) => form !== '');
}

function userinfo(secret: string): string {
  const url = new URL('http://u@h/');
  url.password = secret;
  return url.password;
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

function asciiJson(secret: string): string {
  return JSON.stringify(secret)
    .slice(1, -1)
    .replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * What base64 makes of the secret wherever it stands in the encoded bytes (`Basic` encodes `user:password`): for each
 * of the three alignments the characters that depend on the secret alone. The run of base64 around it goes with it.
 */
function base64Cores(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const cores: string[] = [];
  for (const offset of [0, 1, 2]) {
    const all = Buffer.concat([Buffer.alloc(offset), bytes]);
    const first = Math.ceil((offset * 8) / 6);
    const last = Math.floor((all.length * 8) / 6);
    const core = all.toString('base64').slice(first, last);
    // four characters are 24 bits: shorter ones would hit ordinary words
    if (core.length >= 4) cores.push(core, core.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return cores;
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
