// `${…}` inside a text. No nesting and no expressions: a value comes from the environment or from a file.

export interface Variable {
  /** `NAME`, or `file:path` */
  name: string;
  kind: 'env' | 'file';
  /** `${NAME:-default}` */
  fallback?: string | undefined;
  /** `${NAME:?message}` */
  message?: string | undefined;
}
export type Part = { text: string } | { variable: Variable } | { wrong: string };

export const VARIABLE_FORMS =
  '${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}; $${ for the characters themselves';

const OPENING = /\$?\$\{/g;

/** The text in its parts, `$${` already read as `${`. */
export function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  let literal = '';
  OPENING.lastIndex = 0;
  for (let match = OPENING.exec(text); match; match = OPENING.exec(text)) {
    literal += text.slice(from, match.index);
    if (match[0] === '$${') {
      literal += '${';
      from = OPENING.lastIndex;
      continue;
    }
    const end = text.indexOf('}', OPENING.lastIndex);
    const whole = end < 0 ? text.slice(match.index) : text.slice(match.index, end + 1);
    const variable = end < 0 ? undefined : readVariable(text.slice(OPENING.lastIndex, end));
    if (literal) parts.push({ text: literal });
    literal = '';
    parts.push(variable ? { variable } : { wrong: whole });
    from = end < 0 ? text.length : end + 1;
    OPENING.lastIndex = from;
  }
  literal += text.slice(from);
  if (literal) parts.push({ text: literal });
  return parts;
}

function readVariable(inner: string): Variable | undefined {
  const file = /^file:(\S.*)$/s.exec(inner);
  if (file) return file[1]!.includes('${') ? undefined : { name: inner, kind: 'file' };
  const env = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?$/s.exec(inner);
  if (!env || inner.includes('${')) return undefined;
  const [, name, operator, rest] = env;
  if (operator === ':-') return { name: name!, kind: 'env', fallback: rest! };
  if (operator === ':?') return { name: name!, kind: 'env', message: rest! };
  return { name: name!, kind: 'env' };
}

export function hasVariable(text: string): boolean {
  return text.includes('${') && partsOf(text).some((part) => 'variable' in part || 'wrong' in part);
}

export function variablesIn(text: string): Variable[] {
  if (!text.includes('${')) return [];
  return partsOf(text).flatMap((part) => ('variable' in part ? [part.variable] : []));
}

/** Something in a secret's place that stands in the file itself: no variable at all, or one with a default. */
export function isLiteralSecret(text: string): boolean {
  const variables = variablesIn(text);
  if (variables.length === 0) return !hasVariable(text);
  return variables.some((variable) => variable.fallback !== undefined && variable.fallback !== '');
}

/** Whether an address carries a password that stands in the file itself. */
export function hasLiteralPassword(text: string): boolean {
  // variables are taken out first, so that what is inside them cannot be mistaken for the address's own characters
  const variables: Variable[] = [];
  const flat = partsOf(text)
    .map((part) => {
      if ('text' in part) return part.text;
      if ('wrong' in part) return '';
      if (part.variable.fallback && hasLiteralPassword(part.variable.fallback))
        variables.push({ ...part.variable, name: '!' });
      variables.push(part.variable);
      return `\uE000${variables.length - 1}\uE001`;
    })
    .join('');
  if (variables.some((variable) => variable.name === '!')) return true;
  const passwords: string[] = [];
  for (const [, userinfo] of flat.matchAll(/:\/\/([^/?#\s]*)@/g)) {
    const colon = userinfo!.indexOf(':');
    if (colon >= 0) passwords.push(userinfo!.slice(colon + 1));
  }
  if (flat.includes('://')) {
    for (const [, value] of flat.matchAll(/[?&](?:password|sslpassword)=([^&#\s]*)/gi)) passwords.push(value!);
  }
  return passwords.some((password) => {
    if (password === '') return false;
    const named = [...password.matchAll(/\uE000(\d+)\uE001/g)].map(([, i]) => variables[Number(i)]!);
    return named.length === 0 || named.some((variable) => Boolean(variable.fallback));
  });
}

/** The passwords of the addresses in a resolved text, as written and decoded. */
export function passwordsIn(text: string): string[] {
  const found: string[] = [];
  for (const [, userinfo] of text.matchAll(/:\/\/([^/?#\s]*)@/g)) {
    const colon = userinfo!.indexOf(':');
    if (colon >= 0) found.push(userinfo!.slice(colon + 1));
  }
  if (text.includes('://')) {
    for (const [, value] of text.matchAll(/[?&](?:password|sslpassword)=([^&#\s]*)/gi)) found.push(value!);
  }
  return found.flatMap((password) => {
    try {
      return [password, decodeURIComponent(password)];
    } catch {
      return [password];
    }
  });
}
