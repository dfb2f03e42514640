// The person behind a run, as the journal, the report and whoever is told "somebody acts" have it.
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface Account {
  /** of the process */
  user: string;
  host: string;
}

/** Who became another account by these is known to the system, not only claimed. */
const BECAME = ['SUDO_USER', 'DOAS_USER'] as const;
/** On a CI system the account is the runner's; these name who began the job. */
const CI_PEOPLE = ['GITHUB_ACTOR', 'GITLAB_USER_LOGIN', 'BUILDKITE_BUILD_CREATOR'] as const;
/** Stands in one line of a terminal, beside a reason. */
const NAME = /^[^\p{Cc}\p{Zl}\p{Zp}]{1,60}$/u;

/**
 * `--by`, else MAINT_BY, else who called sudo or doas, else who began the CI job, else the account. What is only said
 * on the command line stands beside the account that said it: "ana@lapis (root)".
 */
export function personOf(named: string | undefined, env: Env, { user, host }: Account): string {
  const said = named ?? (env['MAINT_BY'] || undefined);
  if (said !== undefined) {
    const name = checked(said, named === undefined ? 'MAINT_BY' : '--by');
    if (name === user || name === `${user}@${host}`) return `${user}@${host}`;
    return name.includes('@') ? `${name} (${user}@${host})` : `${name}@${host} (${user})`;
  }
  const variables = env['CI'] ? [...BECAME, ...CI_PEOPLE] : BECAME;
  const known = variables.map((name) => env[name]).find((name) => name && name !== 'root' && NAME.test(name));
  return `${known ?? user}@${host}`;
}

function checked(said: string, from: string): string {
  const name = said.trim();
  if (NAME.test(name)) return name;
  throw new MaintError('E_USAGE', `${from} ${JSON.stringify(said.slice(0, 80))} is not a name. Nothing changed.`, {
    details: ['allowed: 1 to 60 characters in one line, such as ana or ana@example.com'],
    next: [from === '--by' ? advice('--by ana') : advice('export MAINT_BY=ana')],
  });
}
