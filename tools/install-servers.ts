// Installs the real servers that the tests use, where that is possible without asking (Debian or its relatives, as root).
// Everywhere else it says which tests will be skipped, and why. Plain Node: it runs before anything else does.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Wanted {
  package: string;
  /** one of these is enough */
  programs: readonly string[];
  /** a module that Python has to find */
  python?: string;
  tests: string;
}

const WANTED: readonly Wanted[] = [
  {
    package: 'redis-server',
    programs: ['redis-server', 'valkey-server'],
    tests: 'flag/redis, cache/redis-namespace, no-writes/redis',
  },
  { package: 'postgresql', programs: ['postgres'], tests: 'no-writes/postgres, the state on Postgres' },
  { package: 'pgbouncer', programs: ['pgbouncer'], tests: 'the state on Postgres behind a pooler' },
  { package: 'varnish', programs: ['varnishd'], tests: 'cache/http' },
  {
    package: 'prometheus-alertmanager',
    programs: ['prometheus-alertmanager', 'alertmanager'],
    tests: 'silence/alertmanager',
  },
  { package: 'cron', programs: ['cron'], tests: 'crons/crontab' },
  { package: 'curl', programs: ['curl'], tests: 'what clients do (docs/clients.md)' },
  { package: 'jq', programs: ['jq'], tests: 'the bench of the checklist beside a shell script' },
  {
    package: 'python3-urllib3',
    programs: ['python3'],
    python: 'urllib3',
    tests: 'what clients do (docs/clients.md)',
  },
  {
    package: 'chromium',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    tests: 'what a page of another origin reads of the guard',
  },
  { package: 'zsh', programs: ['zsh'], tests: 'maint completion zsh' },
  { package: 'fish', programs: ['fish'], tests: 'maint completion fish' },
];

const POLICY = '/usr/sbin/policy-rc.d';

function has(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const postgres = '/usr/lib/postgresql';
  if (existsSync(postgres)) folders.push(...readdirSync(postgres).map((version) => join(postgres, version, 'bin')));
  return folders.some((folder) => existsSync(join(folder, program)));
}

function lacking(): Wanted[] {
  return WANTED.filter(({ programs, python }) => !programs.some(has) || (python !== undefined && !imports(python)));
}

/** As the tests look for it: the first Python on the PATH may be somebody's own. */
function imports(module: string): boolean {
  return ['python3', '/usr/bin/python3'].some(
    (python) => spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' }).status === 0,
  );
}

function isDebian(): boolean {
  if (process.platform !== 'linux' || !has('apt-get') || !existsSync('/etc/os-release')) return false;
  return /^(ID|ID_LIKE)=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8'));
}

function apt(args: readonly string[]): boolean {
  const { status } = spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeout: 15 * 60_000,
  });
  return status === 0;
}

function install(packages: readonly string[]): void {
  // 101: no service may be started; the tests start their own, on ports of their own
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const args = ['install', '-y', '--no-install-recommends', '-q'];
    // the package lists of a fresh image are empty or old
    if (apt(['update', '-q']) && apt([...args, ...packages])) return;
    // one package that cannot be had must not take the others along
    for (const name of packages) apt([...args, name]);
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

function main(): void {
  const missing = lacking();
  if (missing.length === 0) return;
  const names = missing.map((wanted) => wanted.package);
  let reason = 'only Debian and its relatives are installed on by themselves';
  if (isDebian() && process.getuid?.() === 0) {
    console.error(`Installing what the tests run against: ${names.join(' ')}`);
    install(names);
    reason = 'apt-get could not install it';
  } else if (isDebian()) {
    reason = `that needs root: sudo apt-get install --no-install-recommends ${names.join(' ')}`;
  }
  for (const wanted of lacking()) {
    console.error(`Skipped: the tests of ${wanted.tests}. ${wanted.programs[0]} is not installed (${reason}).`);
  }
  // on CI nothing is skipped: the tests themselves fail, and name what is missing
}

main();
