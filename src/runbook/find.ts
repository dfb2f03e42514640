// Which runbook is meant, when none is named: one rule for every command.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MaintError } from '../errors/catalogue.ts';
import { MAX_BYTES } from './document.ts';
import { isName } from './frame.ts';
import { quoted } from './problems.ts';

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

/**
 * `--runbook`, else MAINT_RUNBOOK, else `runbooks/<env>.yaml`, else the only YAML file in `runbooks/` that has `steps`.
 * Returns the path as a person would write it, relative to `cwd`; E_NO_RUNBOOK (64) lists what is there.
 */
export function findRunbook(options: FindOptions): string {
  if (options.runbook !== undefined) {
    if (options.runbook === '')
      throw new MaintError('E_USAGE', '--runbook names no file.', { next: ['--runbook runbooks/<name>.yaml'] });
    return options.runbook;
  }
  const named = options.env.MAINT_RUNBOOK;
  if (named) return named;

  const cwd = options.cwd ?? process.cwd();
  const { environment } = options;
  const names = yamlNames(join(cwd, FOLDER));
  if (environment !== undefined && isName(environment)) {
    const own = [`${environment}.yaml`, `${environment}.yml`].find((name) => names?.includes(name));
    if (own) return join(FOLDER, own);
  }
  const runbooks = (names ?? []).filter((name) => hasSteps(join(cwd, FOLDER, name)));
  if (runbooks.length === 1) return join(FOLDER, runbooks[0]!);

  const details = (names ?? []).map(
    (name) => `${join(FOLDER, name)}${runbooks.includes(name) ? '' : '  no steps in it'}`,
  );
  const wanted = environment === undefined ? '' : ` for ${quoted(environment)}`;
  if (runbooks.length > 1) {
    throw new MaintError(
      'E_NO_RUNBOOK',
      `${runbooks.length} runbooks are in ${FOLDER}/, and none was named${wanted}.`,
      {
        details,
        next: [...runbooks.slice(0, 3).map((name) => `--runbook ${join(FOLDER, name)}`), 'or set MAINT_RUNBOOK'],
      },
    );
  }
  const why =
    names === undefined ? `there is no folder ${FOLDER}/ here (${cwd})` : `${FOLDER}/ holds no YAML file with steps`;
  throw new MaintError('E_NO_RUNBOOK', `No runbook was named${wanted}, and ${why}.`, {
    details,
    next: [
      '--runbook <file>',
      'or set MAINT_RUNBOOK',
      `or write ${FOLDER}/${environment !== undefined && isName(environment) ? environment : '<env>'}.yaml`,
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
function hasSteps(path: string): boolean {
  try {
    const stat = statSync(path);
    if (!stat.isFile() || stat.size > MAX_BYTES) return false;
    return /^(?:\{.*)?["']?steps["']?\s*:/m.test(readFileSync(path, 'utf8'));
  } catch {
    return false;
  }
}
