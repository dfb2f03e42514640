// From a runbook's text to steps that can run: variables filled in, relative paths made absolute, params parsed.
import { isAbsolute, resolve as resolvePath } from 'node:path';
import type { Step } from '../engine/contract.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, type Next } from '../errors/next.ts';
import { type Located, pathText } from './document.ts';
import type { Runbook, RunbookStep } from './load.ts';
import { mapLeaves, misspelt, type Parsed, parseParams, reportIssues } from './params.ts';
import { roleInText } from './rules.ts';
import { partsOf, passwordsIn, type Variable, variablesIn } from './variables-text.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
/** Reads a file as text; throws what the file system throws. */
export type ReadFile = (path: string) => string;

export interface MissingVariable {
  /** `REDIS_URL`, or `file:/run/secrets/slack` */
  variable: string;
  /** the steps that name it; empty: only the top of the runbook does */
  steps: string[];
  /** one of these steps is a wall: while it is missing, writes cannot be opened again */
  wall: boolean;
  /** "not set", "set but empty", "cannot be read (ENOENT)", or the runbook's own `:?message` */
  why: string;
}

/** A value that is there and of no use. Never holds the value. */
export interface UnusableValue {
  step: string;
  wall: boolean;
  /** `with.url` */
  path: string;
  /** the text in the runbook, where variables are the reason */
  text?: string | undefined;
  why: string;
}

export interface Resolved {
  steps: Step[];
  contact: string;
  statusPage?: string | undefined;
  rollbackPlan?: string | undefined;
  overdueNotice?: string | undefined;
}
export type Resolution = {
  /** what must appear nowhere: the variables' values and the passwords of addresses, longest first */
  secrets: string[];
  /** every variable that an active step names, defaults or not */
  named: string[];
} & (({ ok: true } & Resolved) | { ok: false; missing: MissingVariable[]; unusable: UnusableValue[] });

interface Look {
  value: string | undefined;
  why: string;
}

class Lookup {
  readonly secrets = new Set<string>();
  readonly #env: Environment;
  readonly #readFile: ReadFile;
  readonly #folder: string;
  readonly #files = new Map<string, Look>();
  constructor(env: Environment, readFile: ReadFile, folder: string) {
    this.#env = env;
    this.#readFile = readFile;
    this.#folder = folder;
  }

  get(variable: Variable): Look {
    if (variable.kind === 'file') return this.#file(variable.name);
    const value = Object.hasOwn(this.#env, variable.name) ? this.#env[variable.name] : undefined;
    if (value) return { value, why: '' };
    if (variable.fallback !== undefined) return { value: variable.fallback, why: '' };
    return { value: undefined, why: variable.message || (value === undefined ? 'not set' : 'set but empty') };
  }

  #file(name: string): Look {
    let look = this.#files.get(name);
    if (look) return look;
    const path = name.slice('file:'.length);
    try {
      const text = this.#readFile(isAbsolute(path) ? path : resolvePath(this.#folder, path)).replace(/\r?\n$/, '');
      look = text === '' ? { value: undefined, why: 'an empty file' } : { value: text, why: '' };
    } catch (error) {
      look = {
        value: undefined,
        why: `cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`,
      };
    }
    this.#files.set(name, look);
    return look;
  }

  /** The text with its values, or undefined if one is missing. */
  fill(text: string, secret: boolean, missing: (variable: Variable, why: string) => void): string | undefined {
    let filled = '';
    let complete = true;
    for (const part of partsOf(text)) {
      if ('text' in part) filled += part.text;
      else if ('wrong' in part) filled += part.wrong;
      else {
        const { value, why } = this.get(part.variable);
        if (value === undefined) {
          missing(part.variable, why);
          complete = false;
          continue;
        }
        // a default stands in the file for everybody to read
        if (secret && value !== part.variable.fallback) this.secrets.add(value);
        filled += value;
      }
    }
    if (complete && secret) for (const password of passwordsIn(filled)) if (password) this.secrets.add(password);
    return complete ? filled : undefined;
  }
}

/**
 * Fills in the variables of every step that is not skipped. Skipped steps keep their text: nobody needs their secrets.
 * Values of the top strings (contact, status page, rollback plan) are no secrets: they are made to be told.
 */
export function resolve(runbook: Runbook, env: Environment, readFile: ReadFile): Resolution {
  const lookup = new Lookup(env, readFile, runbook.folder);
  const missing = new Map<string, MissingVariable>();
  const unusable: UnusableValue[] = [];
  const named = new Set<string>();
  const note = (variable: Variable, why: string, step?: RunbookStep) => {
    const entry = missing.get(variable.name) ?? { variable: variable.name, steps: [], wall: false, why };
    if (variable.message) entry.why = variable.message;
    if (step && !entry.steps.includes(step.id)) entry.steps.push(step.id);
    if (step && isWall(step)) entry.wall = true;
    missing.set(variable.name, entry);
  };

  const steps = runbook.steps.map((step): Step => {
    if (step.skipped !== undefined) return stepOf(step, step.with);
    let complete = true;
    const values = mapLeaves(step.plugin.Params, step.with, (value, at, marks) => {
      if (typeof value !== 'string') return value;
      for (const variable of variablesIn(value)) named.add(variable.name);
      const open = lookup.fill(value, false, () => undefined);
      // what is a path or an address, a queue, is the one that it looks like
      const path = marks.path && !(marks.url && /^[a-z][a-z0-9+.-]*:\/\//i.test(open ?? ''));
      const told = open !== undefined && (path || (marks.url && isBareAddress(open)));
      const filled = lookup.fill(value, !told, (variable, why) => {
        complete = false;
        note(variable, why, step);
      });
      if (filled === undefined) return value;
      // what the file itself says was judged when it was read
      const wrong = runbook.stored || filled === value ? undefined : misspelt(filled, at, marks);
      if (wrong)
        unusable.push({
          step: step.id,
          wall: isWall(step),
          path: pathText('with', at),
          text: value,
          why: `${wrong.message}  allowed ${wrong.allowed}`,
        });
      return path && filled !== '' && !isAbsolute(filled) ? resolvePath(runbook.folder, filled) : filled;
    });
    if (!complete) return stepOf(step, step.with);
    const parsed = parseResolved(step, values);
    if (parsed.success) return stepOf(step, parsed.data);
    unusable.push(...unusableOf(step, parsed));
    return stepOf(step, values);
  });

  const top = (text: string | undefined) => {
    if (text === undefined) return undefined;
    for (const variable of variablesIn(text)) named.add(variable.name);
    return lookup.fill(text, false, (variable, why) => note(variable, why));
  };
  const contact = top(runbook.contact);
  const statusPage = top(runbook.statusPage);
  const rollbackPlan = top(runbook.rollbackPlan);
  const overdueNotice = top(runbook.overdueNotice);

  const secrets = [...lookup.secrets].sort((a, b) => b.length - a.length);
  const common = { secrets, named: [...named] };
  if (missing.size > 0 || unusable.length > 0)
    return { ok: false, ...common, missing: [...missing.values()], unusable };
  return { ok: true, ...common, steps, contact: contact!, statusPage, rollbackPlan, overdueNotice };
}

/** Where a service is, and nothing more: no userinfo, no path, no query in which a token could be. A redacted address would hide from people what they have to look at. */
function isBareAddress(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '') return false;
  return (url.pathname === '' || url.pathname === '/') && url.search === '' && url.hash === '';
}

function isWall(step: RunbookStep): boolean {
  return roleInText(step.plugin, step.with) === 'wall';
}

function stepOf(step: RunbookStep, params: unknown): Step {
  const { uses: _uses, with: _with, line: _line, ...rest } = step;
  return { ...rest, params };
}

/** A variable is always text: where the plugin wants a number or a yes/no, text that reads as one becomes one. */
function parseResolved(step: RunbookStep, values: unknown): Parsed {
  const parsed = parseParams(step.plugin.Params, values);
  if (parsed.success) return parsed;
  const converted = structuredClone(values);
  let changed = false;
  const flat = parsed.issues.flatMap((issue) => wrongTypes(issue, []));
  for (const { path, expected } of flat) {
    const raw = valueAt(step.with, path);
    if (typeof raw !== 'string' || variablesIn(raw).length === 0) continue;
    const text = valueAt(values, path);
    const value = typeof text === 'string' ? readAs(text.trim(), expected) : undefined;
    if (value === undefined) continue;
    setAt(converted, path, value);
    changed = true;
  }
  return changed ? parseParams(step.plugin.Params, converted) : parsed;
}

type Issue = (Parsed & { success: false })['issues'][number];

/** The wrong types among the issues, those inside of unions too. */
function wrongTypes(issue: Issue, base: readonly PropertyKey[]): { path: PropertyKey[]; expected: string }[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'invalid_type') return [{ path, expected: issue.expected }];
  if (issue.code !== 'invalid_union') return [];
  return issue.errors.flat().flatMap((inner) => wrongTypes(inner, path));
}

function readAs(text: string, expected: string): unknown {
  if (expected === 'number' || expected === 'int') return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
  if (expected === 'boolean') return text === 'true' ? true : text === 'false' ? false : undefined;
  return undefined;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let at = root;
  for (const key of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at;
}

function setAt(root: unknown, path: readonly PropertyKey[], value: unknown): void {
  const parent = valueAt(root, path.slice(0, -1)) as Record<PropertyKey, unknown> | undefined;
  const key = path.at(-1);
  if (parent && key !== undefined) parent[key] = value;
}

/** What is wrong in words, with the runbook's text in place of the values. */
function unusableOf(step: RunbookStep, parsed: Parsed & { success: false }): UnusableValue[] {
  const found: UnusableValue[] = [];
  const place = (value: unknown, path: string): Located => ({
    value,
    path,
    offset: 0,
    ...(Array.isArray(value) ? { items: value.map((item, i) => place(item, `${path}[${i}]`)) } : {}),
    ...(value !== null && typeof value === 'object' && !Array.isArray(value)
      ? { keys: new Map(Object.entries(value).map(([key, item]) => [key, place(item, pathText(path, [key]))])) }
      : {}),
  });
  // the raw text is what the problem shows; its places and kinds are the same
  reportIssues(step.plugin.Params, parsed.issues, place(step.with, 'with'), (at, problem) => {
    const text = typeof at.value === 'string' ? at.value : undefined;
    const why = [problem.message, problem.allowed === undefined ? undefined : `allowed ${problem.allowed}`];
    found.push({
      step: step.id,
      wall: isWall(step),
      path: problem.path ?? at.path,
      text,
      why: why.filter((part) => part !== undefined).join('  '),
    });
  });
  if (found.length === 0) found.push({ step: step.id, wall: isWall(step), path: 'with', why: 'is not valid' });
  return found;
}

/**
 * What to throw when something is missing (66). `lead` says what cannot be done: "this laptop cannot end w-7k2p";
 * `opening`: writes wait for it, so that each wall is named as such.
 */
export function missingError(
  resolution: Resolution & { ok: false },
  more: {
    lead?: string;
    tail?: string;
    opening?: boolean;
    withoutThem?(steps: string[]): Next;
    next?: readonly Next[];
  } = {},
): MaintError {
  const { missing, unusable, named } = resolution;
  const count = missing.length + unusable.length;
  const what =
    missing.length > 0
      ? `${missing.length} of ${Math.max(named.length, missing.length)} variables its runbook names ${missing.length === 1 ? 'is' : 'are'} not set: ${missing.map(({ variable }) => variable).join(', ')}`
      : `${count} ${count === 1 ? 'value that its variables give is' : 'values that its variables give are'} not usable: ${[...new Set(unusable.map(({ step, path }) => `${step} ${path}`))].join(', ')}`;
  const wall = (is: boolean) => (is ? (more.opening ? ': a wall, writes stay refused without it' : ': a wall') : '');
  const width = Math.max(0, ...missing.map((one) => one.variable.length));
  const details = [
    ...[...missing]
      .sort((a, b) => Number(b.wall) - Number(a.wall))
      .map(({ variable, steps, wall: is, why }) => {
        const reason = why === 'not set' ? '' : `  ${why}`;
        return `${variable.padEnd(width)}  ${steps.length > 0 ? steps.join(', ') : 'the runbook itself'}${wall(is)}${reason}`;
      }),
    ...unusable.map(
      ({ step, path, text, why, wall: is }) =>
        `${step}${wall(is)}  ${path}${text === undefined ? '' : `  ${JSON.stringify(text)}`}  ${why}`,
    ),
  ];
  // what writes wait for cannot be left for later, nor what the top of the runbook names
  const noWalls = [
    ...missing.filter((one) => !one.wall).flatMap(({ steps }) => steps),
    ...unusable.filter((one) => !one.wall).map(({ step }) => step),
  ];
  const later = missing.some(({ steps }) => steps.length === 0) ? [] : [...new Set(noWalls)];
  const next: Next[] = [advice('set them and run the same command again')];
  if (more.withoutThem !== undefined && later.length > 0) next.push(more.withoutThem(later));
  return new MaintError(
    'E_SECRETS_MISSING',
    `${more.lead ? `${more.lead}: ` : ''}${what}. ${more.tail ?? 'Nothing changed.'}`,
    {
      details,
      next: more.next ?? next,
    },
  );
}
