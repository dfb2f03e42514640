// Which runbook is meant, when none is named: one rule for every command.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';
import { MAX_BYTES, parseYaml } from './document.ts';
import { isName } from './frame.ts';
import { nearestNames } from './nearest.ts';
import { Problems, quoted } from './problems.ts';

const FOLDER = 'runbooks';

export interface FindOptions {
  /** --runbook */
  runbook?: string | undefined;
  /** --env */
  environment?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** default: where the process is */
  cwd?: string | undefined;
}

interface Found {
  /** relative to `cwd` */
  path: string;
  name: string;
  /** it has `steps` */
  isRunbook: boolean;
  /** its `environment` and those of `environments:`; [] where it cannot be read */
  environments: string[];
}

/**
 * `--runbook`, else MAINT_RUNBOOK, else the file in `runbooks/` that is for this environment (by its `environment`, its
 * `environments:` or its name), else the only YAML file there that has `steps`. Returns the path as a person would
 * write it, relative to `cwd`; E_NO_RUNBOOK (64) lists what is there.
 */
export function findRunbook(options: FindOptions): string {
  if (options.runbook !== undefined) {
    if (options.runbook === '')
      throw new MaintError('E_USAGE', '--runbook names no file.', { next: [advice('--runbook runbooks/<name>.yaml')] });
    return options.runbook;
  }
  const named = options.env.MAINT_RUNBOOK;
  if (named) return named;

  const cwd = options.cwd ?? process.cwd();
  const { environment } = options;
  const names = yamlNames(join(cwd, FOLDER));
  const files = (names ?? []).map((name) => looked(cwd, name));
  const runbooks = files.filter(({ isRunbook }) => isRunbook);
  const own = environment === undefined ? [] : ofEnvironment(files, environment);
  const [first] = own.length > 0 ? own : runbooks;
  if (own.length === 1 || (own.length === 0 && runbooks.length === 1)) return first!.path;

  const details = files.map(({ path, isRunbook, environments }) =>
    isRunbook
      ? `${path}  ${environments.length > 0 ? `for ${environments.join(', ')}` : 'cannot be read'}`
      : `${path}  no steps in it`,
  );
  throw own.length > 1 ? several(own, environment!, details) : notFound(runbooks, names, environment, cwd, details);
}

/** Several may be for one environment; the one that is named after it is meant. */
function ofEnvironment(files: readonly Found[], environment: string): Found[] {
  const isNamed = ({ name }: Found) => name === `${environment}.yaml` || name === `${environment}.yml`;
  const own = files.filter(({ isRunbook, environments }) => isRunbook && environments.includes(environment));
  if (own.length === 0) return files.filter(isNamed).slice(0, 1);
  return own.some(isNamed) ? own.filter(isNamed).slice(0, 1) : own;
}

function several(own: readonly Found[], environment: string, details: string[]): MaintError {
  return new MaintError('E_NO_RUNBOOK', `${own.length} runbooks in ${FOLDER}/ are for ${quoted(environment)}.`, {
    details,
    next: own.slice(0, 3).map(({ path }) => advice(`--runbook ${path}`)),
  });
}

function notFound(
  runbooks: readonly Found[],
  names: string[] | undefined,
  environment: string | undefined,
  cwd: string,
  details: string[],
): MaintError {
  const wanted = environment === undefined ? '' : ` for ${quoted(environment)}`;
  if (runbooks.length > 1) {
    const known = [...new Set(runbooks.flatMap(({ environments }) => environments))];
    const near = environment === undefined ? known : nearestNames(environment, known);
    return new MaintError(
      'E_NO_RUNBOOK',
      `${runbooks.length} runbooks are in ${FOLDER}/, and none was named${wanted}.`,
      {
        details,
        next: [
          ...near.slice(0, 3).map((name) => advice(`--env ${name}`)),
          ...runbooks.slice(0, 3).map(({ path }) => advice(`--runbook ${path}`)),
          advice('or set MAINT_RUNBOOK'),
        ],
      },
    );
  }
  const why =
    names === undefined ? `there is no folder ${FOLDER}/ here (${cwd})` : `${FOLDER}/ holds no YAML file with steps`;
  return new MaintError('E_NO_RUNBOOK', `No runbook was named${wanted}, and ${why}.`, {
    details,
    next: [
      advice('--runbook <file>'),
      advice('or set MAINT_RUNBOOK'),
      advice(`or write ${FOLDER}/${environment !== undefined && isName(environment) ? environment : '<env>'}.yaml`),
    ],
  });
}

function yamlNames(folder: string): string[] | undefined {
  try {
    return readdirSync(folder)
      .filter((name) => /\.ya?ml$/i.test(name) && !name.startsWith('.'))
      .sort();
  } catch {
    return undefined;
  }
}

/** A look only: a file that turns out to be no good is told by the one who reads it. */
function looked(cwd: string, name: string): Found {
  const path = join(FOLDER, name);
  const nothing = { path, name, isRunbook: false, environments: [] };
  try {
    const stat = statSync(join(cwd, path));
    if (!stat.isFile() || stat.size > MAX_BYTES) return nothing;
    const text = readFileSync(join(cwd, path), 'utf8');
    if (!/^(?:\{.*)?["']?steps["']?\s*:/m.test(text)) return nothing;
    return { path, name, isRunbook: true, environments: environmentsOf(text) };
  } catch {
    return nothing;
  }
}

function environmentsOf(text: string): string[] {
  const { root } = parseYaml(text, '', new Problems());
  const own = root?.keys?.get('environment')?.value;
  const more = root?.keys?.get('environments')?.keys?.keys() ?? [];
  return [...new Set([...(typeof own === 'string' ? [own] : []), ...more])];
}
