// A runbook as text becomes steps, or all that is wrong with it. Variables stay unresolved here: what needs their values
// is asked at plan (variables.ts, rules.ts), so that `runbook check` needs no secrets.
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve as resolvePath } from 'node:path';
import type { AnyPlugin, Order, Step, Surface } from '../engine/contract.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, blank, maint } from '../errors/next.ts';
import {
  decode,
  type Located,
  locate,
  MAX_BYTES,
  parseYaml,
  pathText,
  type Report,
  reporter,
  strings,
  tooLarge,
} from './document.ts';
import { EnvironmentFrame, isName, NAME_WORDS, ParallelFrame, RunbookFrame, StepFrame } from './frame.ts';

import { nearestNames, nearestText } from './nearest.ts';
import { mapLeaves, misspelt, parseParams, reportIssues } from './params.ts';
import { Problems, quoted } from './problems.ts';
import {
  checkNames,
  checkPlacement,
  checkWalls,
  defaultId,
  layerInText,
  roleInText,
  type StepInText,
} from './rules.ts';

import { checkSurfaces } from './surfaces.ts';
import { hasLiteralPassword, isLiteralSecret, partsOf, VARIABLE_FORMS } from './variables-text.ts';

export type Registry = ReadonlyMap<string, AnyPlugin>;

export interface RunbookOptions {
  /** overrides the file's own `environment` */
  environment?: string | undefined;
  only?: readonly string[] | undefined;
  skip?: readonly string[] | undefined;
}

/** A step as the text has it: `with` is merged with the environment's values, variables unresolved. */
export interface RunbookStep extends Omit<Step, 'params'> {
  uses: string;
  with: Record<string, unknown>;
  /** the line of the file in which it begins */
  line: number;
}

export interface Runbook {
  name: string;
  environment: string;
  budgetMs: number;
  soakMs: number;
  order: Order;
  onExpiry: 'hold' | 'open';
  /** these three may hold variables */
  contact: string;
  statusPage?: string | undefined;
  rollbackPlan?: string | undefined;
  overdueNotice?: string | undefined;
  surfaces: Surface[];
  /** as surfaces.yaml says it */
  shortestTokenLifeMs?: number | undefined;
  /** as it is in the file: what a window stores */
  text: string;
  surfacesText?: string | undefined;
  /** absolute */
  surfacesPath?: string | undefined;
  /** absolute */
  path: string;
  /** absolute: what relative paths in it count from */
  folder: string;
  /** every environment that it knows */
  environments: string[];
  only: string[];
  skip: string[];
  steps: RunbookStep[];
  /** It is what a window was opened with, maybe by an earlier release: how its texts are written is not judged anew. */
  stored?: true;
}

export interface RunbookSource {
  text: string;
  /** absolute, or as it should be named in problems */
  path: string;
  folder: string;
  surfacesText?: string | undefined;
}

const DEFAULTS = {
  deadlineMs: 30_000,
  budgetMs: 60_000,
  soakMs: 300_000,
} as const;

/** Reads and checks a runbook and its surfaces. E_NO_FILE (64), E_USAGE (64) or RunbookError (E_RUNBOOK, 65). */
export async function loadRunbook(path: string, registry: Registry, options: RunbookOptions = {}): Promise<Runbook> {
  const problems = new Problems();
  const again = [maint(['runbook check', path])];
  const bytes = readBytes(path, problems);
  if (!(bytes instanceof Uint8Array)) {
    if (bytes === 'too large') problems.orThrow(path, again);
    throw noFile(path, String(bytes));
  }
  const text = decode(bytes, path, problems);
  if (text === undefined) problems.orThrow(path, again);
  const folder = dirname(resolvePath(path));
  return check({ text: text!, path, folder }, registry, options, problems, (named, report, at) => {
    const absolute = isAbsolute(named) ? named : join(folder, named);
    const shownPath = isAbsolute(named) ? named : join(dirname(path), named);
    const found = readBytes(absolute, problems, shownPath);
    if (found === 'too large') return undefined;
    if (!(found instanceof Uint8Array)) {
      report(at, {
        code: 'no_file',
        message: found,
        found: quoted(named),
        allowed: `a YAML file, relative to ${dirname(path)}`,
      });
      return undefined;
    }
    return decode(found, shownPath, problems);
  });
}

/** The same for a text that is at hand: what a window has stored. Reads no file. */
export function parseRunbook(source: RunbookSource, registry: Registry, options: RunbookOptions = {}): Runbook {
  const runbook = check({ ...source, stored: true }, registry, options, new Problems(), (named, report, at) => {
    if (source.surfacesText === undefined) {
      report(at, { code: 'no_file', message: 'was not stored with the runbook', found: quoted(named) });
    }
    return source.surfacesText;
  });
  return { ...runbook, stored: true };
}

/** The bytes of a file, or why there are none. */
function readBytes(path: string, problems: Problems, shownPath = path): Uint8Array | string {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) return 'is a folder';
    if (!stat.isFile()) return 'is no plain file';
    if (stat.size > MAX_BYTES) {
      tooLarge(stat.size, shownPath, problems);
      return 'too large';
    }
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'is not there';
    if (code === 'EACCES' || code === 'EPERM') return 'may not be read';
    if (code === 'ERR_INVALID_ARG_VALUE') return 'is no path';
    return `cannot be read (${code ?? (error as Error).message})`;
  }
}

function noFile(path: string, why: string): MaintError {
  const next = maint(['runbook check', blank(why === 'is a folder' ? join(path, '<name>.yaml') : '<file>')]);
  return new MaintError('E_NO_FILE', `${quoted(path)} ${why}.`, { next: [next] });
}

type ReadSurfaces = (named: string, report: Report, at: Located) => string | undefined;

interface ReadStep {
  at: Located;
  id: string | undefined;
  plugin: AnyPlugin | undefined;
  frame: StepFrame | undefined;
  params: Located;
  group: number | undefined;
}

function check(
  source: RunbookSource & { stored?: true },
  registry: Registry,
  options: RunbookOptions,
  problems: Problems,
  readSurfaces: ReadSurfaces,
): Runbook {
  const document = parseYaml(source.text, source.path, problems);
  const report = reporter(document, problems);
  const next = new Set<string>();
  const finish = () =>
    problems.orThrow(source.path, [
      ...[...next].slice(0, 3).map((name) => maint(name === '' ? 'steps' : ['steps', name])),
      maint(['runbook check', source.path]),
    ]);
  const { root } = document;
  if (!root) {
    finish();
    throw new MaintError('E_BUG', `${source.path} was not read, and nothing was wrong with it.`);
  }

  const parsed = parseParams(RunbookFrame, root.value);
  if (!parsed.success) reportIssues(RunbookFrame, parsed.issues, root, report);
  for (const key of TOP_WITH_VARIABLES) checkTop(root.keys?.get(key), report);

  const reading: Reading = { registry, report, next, stored: source.stored === true };
  const steps = readSteps(root.keys?.get('steps'), reading, problems);
  checkIds(steps, report);
  const environments = checkEnvironments(root.keys?.get('environments'), steps, reading);

  const inText = steps.flatMap((step): StepInText[] => {
    const { plugin, at, group } = step;
    if (!plugin) return [];
    return [
      {
        id: step.id ?? at.path,
        plugin,
        role: roleInText(plugin, step.params.value),
        layer: layerInText(plugin, step.params.value),
        at,
        group,
        skipped: step.frame?.skip,
      },
    ];
  });
  for (const step of inText) checkPlacement(step, report);
  checkWalls(inText, report);

  const surfacesAt = root.keys?.get('surfaces');
  let surfaces: Surface[] = [];
  let shortestTokenLifeMs: number | undefined;
  let surfacesText: string | undefined;
  if (surfacesAt && typeof surfacesAt.value === 'string' && surfacesAt.value !== '') {
    if (surfacesAt.value.includes('${')) {
      report(surfacesAt, {
        code: 'variable',
        message: 'takes no variables',
        found: quoted(surfacesAt.value),
        allowed: 'a path',
      });
    } else {
      surfacesText = readSurfaces(surfacesAt.value, report, surfacesAt);
      const file = isAbsolute(surfacesAt.value) ? surfacesAt.value : join(dirname(source.path), surfacesAt.value);
      if (surfacesText !== undefined)
        ({ surfaces, shortestTokenLifeMs } = checkSurfaces(surfacesText, file, problems, source.stored === true));
    }
  }
  finish();

  const frame = (parsed as { data: Frame }).data;
  const environment = chosenEnvironment(frame.environment, environments, options.environment, source.path);
  const own = environments.get(environment)?.value as EnvironmentValue | undefined;
  const built = steps.map((step) => buildStep(step, own, document.place));
  const only = [...new Set(options.only ?? [])];
  const skip = [...new Set(options.skip ?? [])];
  checkNames('--only', only, built);
  checkNames('--skip', skip, built);
  for (const step of built) {
    if (skip.includes(step.id)) step.skipped ??= '--skip';
    else if (only.length > 0 && !only.includes(step.id)) step.skipped ??= 'not named by --only';
  }
  if (built.every((step) => step.skipped !== undefined)) {
    throw new MaintError('E_USAGE', `Every step of ${source.path} is skipped.`, {
      details: built.map((step) => `${step.id}: ${step.skipped}`),
      next: [maint('runbook show')],
    });
  }

  const folder = resolvePath(source.folder);
  return {
    name: frame.name ?? basename(source.path).replace(/\.ya?ml$/, ''),
    environment,
    budgetMs: frame.budget ?? DEFAULTS.budgetMs,
    soakMs: frame.soak ?? DEFAULTS.soakMs,
    order: frame.order ?? 'roles',
    onExpiry: frame.on_expiry ?? 'hold',
    contact: own?.contact ?? frame.contact,
    statusPage: own?.status_page ?? frame.status_page,
    rollbackPlan: own?.rollback_plan ?? frame.rollback_plan,
    overdueNotice: own?.overdue_notice ?? frame.overdue_notice,
    surfaces,
    shortestTokenLifeMs,
    text: source.text,
    surfacesText,
    surfacesPath: frame.surfaces === undefined ? undefined : resolvePath(folder, frame.surfaces),
    path: isAbsolute(source.path) ? source.path : join(folder, basename(source.path)),
    folder,
    environments: [...new Set([frame.environment, ...environments.keys()])],
    only,
    skip,
    steps: built,
  };
}

type Frame = import('zod').z.infer<typeof RunbookFrame>;
interface EnvironmentValue {
  contact?: string;
  status_page?: string;
  rollback_plan?: string;
  overdue_notice?: string;
  steps?: Record<string, { with?: Record<string, unknown>; skip?: string }>;
}

/** What reading a step needs besides its place. */
interface Reading {
  registry: Registry;
  report: Report;
  /** the plugins whose page helps with the problems that were found; '': the list of all */
  next: Set<string>;
  stored: boolean;
}

function readSteps(at: Located | undefined, reading: Reading, problems: Problems): ReadStep[] {
  const { report } = reading;
  const steps: ReadStep[] = [];
  let groups = 0;
  for (const item of at?.items ?? []) {
    if (problems.full) break;
    const parallel = item.keys?.get('parallel');
    if (!parallel) {
      steps.push(readStep(item, undefined, reading));
      continue;
    }
    const frame = parseParams(ParallelFrame, item.value);
    if (!frame.success) reportIssues(ParallelFrame, frame.issues, item, report);
    const group = groups++;
    for (const inner of parallel.items ?? []) {
      if (problems.full) break;
      const nested = inner.keys?.get('parallel');
      if (nested) {
        report(nested, {
          key: true,
          code: 'misplaced',
          message: 'is inside another parallel',
          found: 'parallel',
          allowed: 'one level',
        });
        continue;
      }
      steps.push(readStep(inner, group, reading));
    }
  }
  return steps;
}

function readStep(at: Located, group: number | undefined, reading: Reading): ReadStep {
  const { registry, report, next } = reading;
  const parsed = parseParams(StepFrame, at.value);
  if (!parsed.success) {
    const keys = at.keys;
    const issues = keys ? parsed.issues : parsed.issues.slice(0, 1);
    reportIssues(StepFrame, issues, at, report);
  }
  const uses = at.keys?.get('uses');
  const withAt = at.keys?.get('with');
  const params: Located = withAt ?? {
    value: {},
    path: pathText(at.path, ['with']),
    offset: (uses ?? at).offset,
    keys: new Map(),
  };
  const step: ReadStep = {
    at,
    id: undefined,
    plugin: undefined,
    frame: parsed.success ? (parsed.data as StepFrame) : undefined,
    params,
    group,
  };
  const id = at.keys?.get('id');
  checkVariables(withAt, report);
  if (typeof id?.value === 'string') step.id = id.value;
  if (!uses || typeof uses.value !== 'string' || uses.value === '') return step;
  step.plugin = registry.get(uses.value);
  if (!step.plugin) {
    const names = [...registry.keys()];
    next.add('');
    report(uses, {
      code: 'unknown_plugin',
      message: 'is no plugin',
      found: quoted(uses.value),
      allowed: names.join(', '),
      nearest: nearestText(uses.value, names),
    });
    return step;
  }
  // a key that is there without a value was told by the frame already
  if (!id) step.id = defaultId(step.plugin);
  if (params.keys && !checkParams(step.plugin, params, reading)) next.add(step.plugin.name);
  return step;
}

/** Whether the params are as the plugin wants them, as far as that can be told without the variables' values. */
function checkParams(plugin: AnyPlugin, params: Located, { report, stored }: Reading): boolean {
  let good = true;
  const telling: Report = (at, problem) => {
    good = false;
    report(at, problem);
  };
  /** what has its problem already: that of the schema would tell it twice */
  const told = new Set<Located>();
  mapLeaves(plugin.Params, params.value, (value, path, marks) => {
    const { at } = locate(params, path);
    const allowed = '"${VARIABLE}" or "${file:path}"';
    if (marks.secret && value !== null && !(typeof value === 'string' && !isLiteralSecret(value))) {
      const withDefault = typeof value === 'string' && value.includes('${');
      told.add(at);
      telling(at, {
        code: 'literal_secret',
        message: 'is a secret and must not stand in the file',
        found: withDefault ? 'a variable with a literal default' : 'a literal value, not shown',
        allowed,
      });
    } else if (typeof value === 'string' && hasLiteralPassword(value)) {
      told.add(at);
      telling(at, {
        code: 'literal_secret',
        message: 'holds a password, which must not stand in the file',
        found: quoted(value),
        allowed: 'a password from "${VARIABLE}", or the whole address',
      });
    }
    const wrong = stored ? undefined : misspelt(value, path, marks);
    if (wrong) {
      told.add(at);
      const { message, allowed, meant } = wrong;
      telling(at, { code: 'misspelt', message, found: quoted(value as string), allowed, nearest: meant });
    }
    return value;
  });
  const parsed = parseParams(plugin.Params, params.value);
  if (parsed.success) return good;
  const issues = parsed.issues.filter(
    (issue) => !told.has(locate(params, issue.path).at) || issue.code === 'unrecognized_keys',
  );
  reportIssues(plugin.Params, issues, params, telling, true);
  return good;
}

const TOP_WITH_VARIABLES = ['contact', 'status_page', 'rollback_plan', 'overdue_notice'] as const;

function checkTop(at: Located | undefined, report: Report): void {
  checkVariables(at, report);
  if (typeof at?.value !== 'string' || !hasLiteralPassword(at.value)) return;
  report(at, {
    code: 'literal_secret',
    message: 'holds a password, and is told to everybody',
    found: quoted(at.value),
    allowed: 'an address without one',
  });
}

function checkVariables(at: Located | undefined, report: Report): void {
  if (!at) return;
  for (const text of strings(at)) {
    if (!text.value.includes('${')) continue;
    for (const part of partsOf(text.value)) {
      if ('wrong' in part)
        report(text, {
          code: 'variable',
          message: 'is no variable',
          found: quoted(part.wrong),
          allowed: VARIABLE_FORMS,
        });
    }
  }
  checkKeys(at, report);
}

function checkKeys(at: Located, report: Report): void {
  for (const [key, child] of at.keys ?? []) {
    if (key.includes('${'))
      report(child, {
        key: true,
        code: 'variable',
        message: 'is a key; variables are read in values only',
        found: quoted(key),
      });
    checkKeys(child, report);
  }
  for (const item of at.items ?? []) checkKeys(item, report);
}

function checkIds(steps: readonly ReadStep[], report: Report): void {
  const first = new Map<string, ReadStep>();
  for (const step of steps) {
    if (step.id === undefined) continue;
    const other = first.get(step.id);
    if (!other) {
      first.set(step.id, step);
      continue;
    }
    const idAt = step.at.keys?.get('id');
    if (idAt) {
      report(idAt, {
        code: 'duplicate_id',
        message: `is the id of ${other.at.path} already`,
        found: quoted(step.id),
        allowed: 'an id of its own',
      });
      continue;
    }
    report(step.at.keys?.get('uses') ?? step.at, {
      path: pathText(step.at.path, ['id']),
      code: 'duplicate_id',
      message: `is missing, and ${other.at.path} is called ${step.id} already`,
      found: quoted(step.id),
      allowed: `an id of its own, like id: ${step.id}-2`,
    });
  }
}

/** The environments by name; each one's overrides are checked, not only those of the one that is chosen. */
function checkEnvironments(
  at: Located | undefined,
  steps: readonly ReadStep[],
  reading: Reading,
): Map<string, Located> {
  const { report, next } = reading;
  const ids = [...new Set(steps.flatMap((step) => (step.id === undefined ? [] : [step.id])))];
  for (const [name, environment] of at?.keys ?? []) {
    if (!isName(name))
      report(environment, {
        key: true,
        code: 'wrong_format',
        message: 'is no name of an environment',
        found: quoted(name),
        allowed: NAME_WORDS,
      });
    for (const key of TOP_WITH_VARIABLES) checkTop(environment.keys?.get(key), report);
    const parsed = parseParams(EnvironmentFrame, environment.value);
    if (!parsed.success) {
      const isParam = (path: readonly PropertyKey[], key: string) => {
        const step = path[0] === 'steps' && path.length === 2 ? steps.find((one) => one.id === path[1]) : undefined;
        return step?.plugin && Object.hasOwn((step.plugin.Params as { shape?: object }).shape ?? {}, key);
      };
      reportIssues(EnvironmentFrame, parsed.issues, environment, (place, problem) => {
        const key = place.path.slice(place.path.lastIndexOf('.') + 1);
        const path = ['steps', place.path.split('.').at(-2) ?? ''];
        const hint = problem.code === 'unknown_key' && isParam(path, key) ? { nearest: `with: { ${key}: … }` } : {};
        report(place, { ...problem, ...hint });
      });
    }
    for (const [id, override] of environment.keys?.get('steps')?.keys ?? []) {
      const step = steps.find((one) => one.id === id);
      if (!step) {
        report(override, {
          key: true,
          code: 'unknown_step',
          message: 'is no step of this runbook',
          found: quoted(id),
          allowed: ids.join(', '),
          nearest: nearestText(id, ids),
        });
        continue;
      }
      const withAt = override.keys?.get('with');
      if (!withAt?.keys) continue;
      checkVariables(withAt, report);
      if (step.plugin && step.params.keys && !checkParams(step.plugin, merged(step.params, withAt), reading))
        next.add(step.plugin.name);
    }
  }
  return at?.keys ?? new Map();
}

/** Each key of the override takes the place of the step's own key, whole; what is in neither stays as it is. */
function merged(base: Located, override: Located): Located {
  return {
    ...base,
    value: { ...(base.value as object), ...(override.value as object) },
    keys: new Map([...(base.keys ?? []), ...(override.keys ?? [])]),
  };
}

function chosenEnvironment(
  own: string,
  environments: ReadonlyMap<string, Located>,
  wanted: string | undefined,
  path: string,
): string {
  if (wanted === undefined || wanted === own || environments.has(wanted)) return wanted ?? own;
  const known = [...new Set([own, ...environments.keys()])];
  const nearest = nearestNames(wanted, known);
  throw new MaintError('E_USAGE', `--env names ${quoted(wanted)}, and ${path} has no such environment.`, {
    details: [`it has ${known.join(', ')}`],
    next: (nearest.length > 0 ? nearest : known.slice(0, 1)).map((name) => advice(`--env ${name}`)),
  });
}

function buildStep(
  step: ReadStep,
  own: EnvironmentValue | undefined,
  place: (offset: number) => { line: number },
): RunbookStep {
  const frame = step.frame!;
  const plugin = step.plugin!;
  const override = own?.steps?.[step.id!];
  return {
    id: step.id!,
    uses: plugin.name,
    plugin,
    with: { ...(step.params.value as Record<string, unknown>), ...override?.with },
    deadlineMs: frame.deadline ?? plugin.deadlineMs ?? DEFAULTS.deadlineMs,
    release: frame.release,
    onFailure: frame.on_failure,
    onBad: frame.on_bad,
    pacePerMinute: frame.pace === undefined ? undefined : Number.parseInt(frame.pace, 10),
    group: step.group,
    skipped: frame.skip ?? override?.skip,
    line: place(step.at.offset).line,
  };
}
