// Between zod's schemas and a file with places: what a field is marked as, and zod's findings as problems.
import type { z } from 'zod';
import type { Misspelt } from '../engine/secret.ts';
import { type Located, locate, pathText, type Report } from './document.ts';
import { nearestText } from './nearest.ts';
import { quoted, shown } from './problems.ts';
import { hasVariable } from './variables-text.ts';

/** What the schema says about one value (engine/secret.ts). */
export interface Marks {
  secret: boolean;
  url: boolean;
  path: boolean;
  duration: boolean;
  spelled: ((text: string, key: string | undefined) => Misspelt | undefined) | undefined;
  description: string | undefined;
}

type Def = {
  type: string;
  innerType?: z.ZodType;
  in?: z.ZodType;
  out?: z.ZodType;
  element?: z.ZodType;
  items?: z.ZodType[];
  rest?: z.ZodType | null;
  shape?: Record<string, z.ZodType>;
  catchall?: z.ZodType;
  valueType?: z.ZodType;
  options?: z.ZodType[];
  left?: z.ZodType;
  right?: z.ZodType;
  getter?: () => z.ZodType;
  values?: unknown[];
};
const defOf = (schema: z.ZodType) => schema.def as unknown as Def;

const NO_MARKS: Marks = {
  secret: false,
  url: false,
  path: false,
  duration: false,
  spelled: undefined,
  description: undefined,
};

/** Looks through optional, default, pipe … to what holds the value; a mark counts wherever in there it was set. */
function unwrap(schema: z.ZodType, marks: Marks): { schemas: z.ZodType[]; marks: Marks } {
  let merged = marks;
  let current = schema;
  for (let i = 0; i < 50; i++) {
    const meta = (current.meta?.() ?? {}) as Record<string, unknown>;
    merged = {
      secret: merged.secret || meta.secret === true,
      url: merged.url || meta.url === true,
      path: merged.path || meta.path === true,
      duration: merged.duration || meta.duration === true,
      spelled: merged.spelled ?? (typeof meta.spelled === 'function' ? (meta.spelled as Marks['spelled']) : undefined),
      description: merged.description ?? (typeof meta.description === 'string' ? meta.description : undefined),
    };
    const def = defOf(current);
    if (def.getter) current = def.getter();
    else if (def.innerType) current = def.innerType;
    // z.preprocess: the schema stands behind the transform
    else if (def.type === 'pipe' && def.in && def.out) current = defOf(def.in).type === 'transform' ? def.out : def.in;
    else if (def.type === 'intersection' && def.left && def.right)
      return { schemas: [def.left, def.right], marks: merged };
    else break;
  }
  return { schemas: [current], marks: merged };
}

/** The forms of a union that a value could be: those that take it, else those of its kind. */
function optionsFor(options: readonly z.ZodType[], value: unknown): z.ZodType[] {
  const fits = options.filter((option) => accepts(option, value));
  if (fits.length > 0) return fits;
  return options.filter((option) => {
    const { schemas } = unwrap(option, NO_MARKS);
    return schemas.some((schema) => kindFits(defOf(schema).type, value));
  });
}

function accepts(schema: z.ZodType, value: unknown): boolean {
  try {
    return schema.safeParse(value).success;
  } catch {
    return false;
  }
}

function kindFits(type: string, value: unknown): boolean {
  if (['object', 'record', 'map'].includes(type))
    return value !== null && typeof value === 'object' && !Array.isArray(value);
  if (['array', 'tuple', 'set'].includes(type)) return Array.isArray(value);
  if (['union', 'any', 'unknown'].includes(type)) return true;
  return value === null || typeof value !== 'object';
}

/** Calls `visit` for every value that is no list and no map, with its marks; what it returns takes the value's place. */
export function mapLeaves(
  schema: z.ZodType,
  value: unknown,
  visit: (value: unknown, path: PropertyKey[], marks: Marks) => unknown,
  path: PropertyKey[] = [],
  inherited: Marks = NO_MARKS,
): unknown {
  const { schemas, marks } = unwrap(schema, inherited);
  // only the secret goes down: a list of secrets holds secrets
  const down: Marks = { ...NO_MARKS, secret: marks.secret };
  if (schemas.length > 1) {
    return schemas.reduce((now, part) => mapLeaves(part, now, visit, path, marks), value);
  }
  const def = defOf(schemas[0]!);
  if (def.type === 'union' && def.options) {
    const options = optionsFor(def.options, value);
    if (options.length === 0) return mapUnknown(value, visit, path, marks);
    return options.reduce((now, option) => mapLeaves(option, now, visit, path, marks), value);
  }
  if (Array.isArray(value)) {
    return value.map((item, i) => {
      const element = def.element ?? def.items?.[i] ?? def.rest ?? undefined;
      return element
        ? mapLeaves(element, item, visit, [...path, i], down)
        : mapUnknown(item, visit, [...path, i], down);
    });
  }
  if (value !== null && typeof value === 'object') {
    const mapped: Record<string, unknown> = {};
    for (const [key, item] of Object.entries(value)) {
      const inner =
        (def.shape && Object.hasOwn(def.shape, key) ? def.shape[key] : undefined) ?? def.valueType ?? def.catchall;
      mapped[key] = inner
        ? mapLeaves(inner, item, visit, [...path, key], down)
        : mapUnknown(item, visit, [...path, key], down);
    }
    return mapped;
  }
  return visit(value, path, marks);
}

function mapUnknown(
  value: unknown,
  visit: (value: unknown, path: PropertyKey[], marks: Marks) => unknown,
  path: PropertyKey[],
  marks: Marks,
): unknown {
  if (Array.isArray(value)) return value.map((item, i) => mapUnknown(item, visit, [...path, i], marks));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, mapUnknown(item, visit, [...path, key], marks)]),
    );
  }
  return visit(value, path, marks);
}

/** What a schema says about the place at `path`, and the keys that it knows there. */
function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): { marks: Marks; keys: string[]; type: string } {
  let found: { marks: Marks; keys: string[]; type: string } | undefined;
  const go = (at: z.ZodType, rest: readonly PropertyKey[], inherited: Marks): void => {
    const { schemas, marks } = unwrap(at, inherited);
    if (schemas.length > 1) {
      for (const part of schemas) go(part, rest, marks);
      return;
    }
    const def = defOf(schemas[0]!);
    if (def.type === 'union' && def.options) {
      for (const option of def.options) go(option, rest, marks);
      if (rest.length === 0 && found) found.type = 'union';
      return;
    }
    if (rest.length === 0) {
      found = {
        marks: found ? mergeMarks(found.marks, marks) : marks,
        keys: [...new Set([...(found?.keys ?? []), ...Object.keys(def.shape ?? {})])],
        type: def.type,
      };
      return;
    }
    const [key, ...more] = rest;
    const down: Marks = { ...NO_MARKS, secret: marks.secret };
    const next =
      typeof key === 'number'
        ? (def.element ?? def.items?.[key] ?? def.rest)
        : ((def.shape && Object.hasOwn(def.shape, String(key)) ? def.shape[String(key)] : undefined) ??
          def.valueType ??
          def.catchall);
    if (next) go(next, more, down);
  };
  go(schema, path, NO_MARKS);
  return found ?? { marks: NO_MARKS, keys: [], type: 'unknown' };
}

function mergeMarks(a: Marks, b: Marks): Marks {
  return {
    secret: a.secret || b.secret,
    url: a.url || b.url,
    path: a.path || b.path,
    duration: a.duration || b.duration,
    spelled: a.spelled ?? b.spelled,
    description: a.description ?? b.description,
  };
}

/** What the value's own rule says about how it is written; nothing where a variable stands in it. */
export function misspelt(value: unknown, path: readonly PropertyKey[], marks: Marks): Misspelt | undefined {
  if (marks.spelled === undefined || typeof value !== 'string' || hasVariable(value)) return undefined;
  const key = path.at(-1);
  return marks.spelled(value, typeof key === 'string' ? key : undefined);
}

type Issue = z.core.$ZodIssue;

export type Parsed = { success: true; data: unknown } | { success: false; issues: Issue[] };

/** safeParse that also survives a plugin's transform that throws. */
export function parseParams(schema: z.ZodType, value: unknown): Parsed {
  try {
    const result = schema.safeParse(value);
    return result.success ? { success: true, data: result.data } : { success: false, issues: result.error.issues };
  } catch (error) {
    return {
      success: false,
      issues: [
        { code: 'custom', path: [], message: `cannot be read: ${(error as Error).message}` } as unknown as Issue,
      ],
    };
  }
}

const COMPOSITE = new Set(['array', 'object', 'record', 'map', 'tuple', 'set']);

/** An issue of a value that a variable will fill in: its format is looked at when it is known. */
function isOpen(issue: Issue, root: Located): boolean {
  const { at, rest } = locate(root, issue.path);
  if (rest.length > 0) return false;
  if (issue.code === 'invalid_union') {
    const options = issue.errors;
    return options.some(
      (issues) => issues.length > 0 && issues.every((inner) => isOpen(prefixed(inner, issue.path), root)),
    );
  }
  if (typeof at.value === 'string') {
    if (!hasVariable(at.value)) return false;
    return !(issue.code === 'invalid_type' && COMPOSITE.has(issue.expected));
  }
  return issue.code === 'custom' && containsVariable(at);
}

function containsVariable(at: Located): boolean {
  if (typeof at.value === 'string') return hasVariable(at.value);
  return [...(at.items ?? []), ...(at.keys?.values() ?? [])].some(containsVariable);
}

function prefixed(issue: Issue, path: readonly PropertyKey[]): Issue {
  return { ...issue, path: [...path, ...issue.path] } as Issue;
}

/** Tells zod's issues as problems. `root` is the value that was parsed; `variables`: it may hold some, not known yet. */
export function reportIssues(
  schema: z.ZodType,
  issues: readonly Issue[],
  root: Located,
  report: Report,
  variables = false,
): void {
  // zod goes on with lengths where the type is wrong already
  const wrong = new Set(issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => JSON.stringify(path)));
  for (const issue of issues) {
    if (issue.code !== 'invalid_type' && wrong.has(JSON.stringify(issue.path))) continue;
    if (!variables || !isOpen(issue, root)) reportIssue(schema, issue, root, report);
  }
}

function reportIssue(schema: z.ZodType, issue: Issue, root: Located, report: Report): void {
  const { at, rest } = locate(root, issue.path);
  const path = pathText(at.path, rest);
  const here = schemaAt(schema, issue.path);
  const found = here.marks.secret && at.value !== null ? 'a value that is not shown' : shown(at.value, at.source);

  if (rest.length > 0 && issue.code !== 'custom') {
    const allowed = issue.code === 'invalid_union' || issue.code === 'invalid_value' ? undefined : expectedWords(issue);
    const words = here.marks.description ?? (here.marks.duration ? DURATION_WORDS : allowed);
    const values = issue.code === 'invalid_value' ? listed(issue.values) : undefined;
    report(at, { path, code: 'missing', message: 'is missing', allowed: values ?? words });
    return;
  }
  switch (issue.code) {
    case 'unrecognized_keys': {
      // nobody reads more, and each is compared with every name
      for (const key of issue.keys.slice(0, 200)) {
        const child = at.keys?.get(key) ?? at;
        const nearest = nearestText(key, here.keys);
        const allowed = here.keys.length > 0 ? here.keys.join(', ') : 'no keys at all';
        report(child, {
          key: true,
          code: 'unknown_key',
          message: 'is not known here',
          found: quoted(key),
          allowed,
          nearest,
        });
      }
      return;
    }
    case 'invalid_type': {
      const words = expectedWords(issue);
      const { description } = here.marks;
      const told = words === 'text' && description ? `text: ${description}` : words;
      const allowed = here.marks.url ? URL_WORDS : here.marks.duration ? DURATION_WORDS : told;
      report(at, { code: 'wrong_type', message: 'has the wrong type', found, allowed });
      return;
    }
    case 'invalid_value': {
      const names = issue.values.filter((value) => typeof value === 'string');
      const nearest = typeof at.value === 'string' && !here.marks.secret ? nearestText(at.value, names) : undefined;
      report(at, {
        code: 'wrong_value',
        message: 'is not one of the values',
        found,
        allowed: listed(issue.values),
        nearest,
      });
      return;
    }
    case 'invalid_format': {
      const own = issue.message.replace(/^Invalid string: /, '');
      const allowed = here.marks.url
        ? URL_WORDS
        : here.marks.duration
          ? DURATION_WORDS
          : issue.format === 'url'
            ? 'an address like https://host'
            : own;
      report(at, { code: 'wrong_format', message: 'has the wrong form', found, allowed });
      return;
    }
    case 'too_small':
    case 'too_big': {
      const message = at.value === '' ? 'is empty' : 'is out of range';
      report(at, { code: 'out_of_range', message, found, allowed: rangeWords(issue) });
      return;
    }
    case 'invalid_union': {
      reportUnion(schema, issue, at, found, root, report);
      return;
    }
    default: {
      const range = here.marks.duration ? { allowed: DURATION_WORDS } : {};
      const scalar = at.value === null || typeof at.value !== 'object';
      const message = issue.message === 'Invalid input' ? 'is not valid' : issue.message;
      report(at, {
        path,
        code: 'invalid',
        message: here.marks.duration ? 'is out of range' : message,
        ...(scalar ? { found } : {}),
        ...range,
      });
    }
  }
}

/** The form that was most likely meant says what is wrong with it; where none is near, all of them are named. */
function reportUnion(
  schema: z.ZodType,
  issue: Issue & { code: 'invalid_union' },
  at: Located,
  found: string,
  root: Located,
  report: Report,
): void {
  const options = issue.errors.map((issues) => issues.map((inner) => prefixed(inner, issue.path)));
  const wrongKind = (inner: Issue) => inner.path.length === issue.path.length && inner.code === 'invalid_type';
  const near = options
    .filter((issues) => issues.length > 0 && !issues.some(wrongKind))
    .map((issues) => issues.filter((inner) => !isOpen(inner, root)))
    .sort((a, b) => a.length - b.length);
  const literals = options
    .flat()
    .filter((inner) => inner.code === 'invalid_value' && inner.path.length === issue.path.length);
  if (near[0] && literals.length < options.length) {
    for (const inner of near[0]) reportIssue(schema, inner, root, report);
    return;
  }
  const words = options.flatMap((issues) =>
    issues.slice(0, 1).map((inner) => (inner.code === 'invalid_value' ? listed(inner.values) : expectedWords(inner))),
  );
  const allowed = [...new Set(words.filter((text) => text !== undefined))].join(', or ');
  report(at, { code: 'wrong_value', message: 'is none of the forms', found, ...(allowed ? { allowed } : {}) });
}

const DURATION_WORDS = 'a duration like 30s, 5m, 1h30m, at most 30 days';
const URL_WORDS = 'an address like https://host, redis://host:6379, postgres://host/db, or "${VAR}"';

function listed(values: readonly unknown[]): string {
  return values.map((value) => String(value)).join(', ');
}

function expectedWords(issue: Issue): string | undefined {
  if (issue.code !== 'invalid_type') return issue.message;
  const words: Record<string, string> = {
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a map',
    record: 'a map',
    null: 'nothing',
    never: 'nothing at all',
  };
  return words[issue.expected] ?? issue.expected;
}

function rangeWords(issue: Issue & { code: 'too_small' | 'too_big' }): string {
  const small = issue.code === 'too_small';
  const limit = String(small ? issue.minimum : issue.maximum);
  if (issue.origin === 'string')
    return small && limit === '1' ? 'text, not empty' : `${small ? 'at least' : 'at most'} ${limit} characters`;
  if (issue.origin === 'array' || issue.origin === 'set')
    return `${small ? 'at least' : 'at most'} ${limit} ${limit === '1' ? 'entry' : 'entries'}`;
  if (issue.origin === 'object' || issue.origin === 'map') return `${small ? 'at least' : 'at most'} ${limit} keys`;
  const bound = issue.inclusive === false ? (small ? 'more than' : 'less than') : small ? 'at least' : 'at most';
  return `a number, ${bound} ${limit}`;
}
