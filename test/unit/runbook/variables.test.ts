import { describe, expect, test } from '@jest/globals';
import { advice, maint } from '../../../src/errors/next.ts';
import { parseRunbook, type RunbookOptions } from '../../../src/runbook/load.ts';
import { type Environment, missingError, resolve } from '../../../src/runbook/variables.ts';
import { hasLiteralPassword, isLiteralSecret, partsOf, passwordsIn } from '../../../src/runbook/variables-text.ts';
import { FULL, registry } from './registry.ts';

const HEAD = 'version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n';
const noFile = (path: string): string => {
  throw Object.assign(new Error(`no such file ${path}`), { code: 'ENOENT' });
};

function runbook(steps: string, options: RunbookOptions = {}) {
  return parseRunbook({ text: `${HEAD}${steps}`, path: '/w/p.yaml', folder: '/w' }, registry, options);
}
function resolved(steps: string, env: Environment, readFile = noFile) {
  const resolution = resolve(runbook(steps), env, readFile);
  if (!resolution.ok) throw new Error(JSON.stringify(resolution));
  return resolution;
}
function unresolved(steps: string, env: Environment, readFile = noFile) {
  const resolution = resolve(runbook(steps), env, readFile);
  if (resolution.ok) throw new Error('nothing was missing');
  return resolution;
}

describe('the text of a variable', () => {
  test.each<[string, unknown]>([
    ['plain $NAME {x}', [{ text: 'plain $NAME {x}' }]],
    ['a${B}c', [{ text: 'a' }, { variable: { name: 'B', kind: 'env' } }, { text: 'c' }]],
    ['${B:-x y}', [{ variable: { name: 'B', kind: 'env', fallback: 'x y' } }]],
    ['${B:-}', [{ variable: { name: 'B', kind: 'env', fallback: '' } }]],
    ['${B:?ask ana}', [{ variable: { name: 'B', kind: 'env', message: 'ask ana' } }]],
    ['${file:/run/x}', [{ variable: { name: 'file:/run/x', kind: 'file' } }]],
    ['$${B} and $$${B}', [{ text: '${B} and $${B}' }]],
    ['${}', [{ wrong: '${}' }]],
    ['${1A}', [{ wrong: '${1A}' }]],
    ['${A-x}', [{ wrong: '${A-x}' }]],
    ['${A:-${B}}', [{ wrong: '${A:-${B}' }, { text: '}' }]],
    ['x${A', [{ text: 'x' }, { wrong: '${A' }]],
    ['${file:}', [{ wrong: '${file:}' }]],
  ])('%s', (text, parts) => {
    expect(partsOf(text)).toEqual(parts);
  });

  test.each<[string, boolean]>([
    ['postgres://app:hunter2@db/x', true],
    ['postgres://app:${PW}@db/x', false],
    ['postgres://app:pre${PW}@db/x', false],
    ['postgres://app:${PW:-hunter2}@db/x', true],
    ['postgres://${U:-a}:hunter2@db/x', true],
    ['postgres://app@db/x', false],
    ['redis://:hunter2@h', true],
    ['postgres://db/x?password=hunter2', true],
    ['postgres://db/x?password=${PW}', false],
    ['${URL:-redis://:hunter2@h}', true],
    ['${URL}', false],
    ['http://h:80/a@b:c', false],
    ['mail a:b@c', false],
  ])('a literal password in %s: %s', (text, is) => {
    expect(hasLiteralPassword(text)).toBe(is);
  });

  test('a literal secret', () => {
    expect(['x', '', '${A:-x}', '$${A}'].map(isLiteralSecret)).toEqual([true, true, true, true]);
    expect(['${A}', 'Bearer ${A}', '${A:-}', '${file:x}'].map(isLiteralSecret)).toEqual([false, false, false, false]);
  });

  test('passwords, as written and decoded', () => {
    expect(passwordsIn('postgres://a:p%40ss@h/db?sslpassword=z')).toEqual(['p%40ss', 'p@ss', 'z', 'z']);
  });
});

describe('resolve', () => {
  test('values, defaults, files, escapes, numbers, paths', () => {
    const { steps, secrets } = resolved(
      `  - { uses: flag/redis, with: { url: "\${R}", key: "a-\${K:-b}-$\${X}" } }
  - { uses: flag/file, id: file, with: { path: ./f/flag.json } }
  - { uses: crons/crontab, with: { file: "\${C}", most: "\${MOST}", quiet: "\${Q}" } }
  - { uses: soak/http, with: { probes: [{ url: "http://h", expect: "\${CODE}" }] } }
  - { uses: notice/statuspage, with: { page: p, token: "\${file:secret}" } }
  - { uses: no-writes/postgres, with: { url: "postgres://app:\${PW}@db/x", for: "\${FOR:-5s}" } }
`,
      { R: 'redis://h:1', C: 'cron', MOST: '7', Q: 'true', CODE: '204', PW: 'p%40ss' },
      (path) => `${path}\n\n`,
    );
    expect(steps.map(({ params }) => params)).toEqual([
      { url: 'redis://h:1', key: 'a-b-${X}' },
      { path: '/w/f/flag.json' },
      { file: '/w/cron', most: 7, quiet: true, keep: [] },
      { probes: [{ url: 'http://h', expect: 204 }] },
      { url: 'https://api.example.com', page: 'p', token: '/w/secret\n' },
      { url: 'postgres://app:p%40ss@db/x', for: 5000, allow: [] },
    ]);
    expect(secrets).toEqual(expect.arrayContaining(['p%40ss', 'p@ss']));
    expect(secrets).not.toContain('b');
    // where a service is, is no secret
    expect(secrets).not.toContain('redis://h:1');
    expect(steps[0]).not.toHaveProperty('with');
  });

  test('contact and page are filled in, and are no secrets', () => {
    const text =
      'version: 1\nenvironment: p\ncontact: "${C}"\nstatus_page: "${S}"\nsteps:\n  - { uses: flag/file, with: { path: /f } }\n';
    const book = parseRunbook({ text, path: '/w/p.yaml', folder: '/w' }, registry);
    expect(resolve(book, { C: 'ana', S: 'https://s' }, noFile)).toMatchObject({
      ok: true,
      contact: 'ana',
      statusPage: 'https://s',
      secrets: [],
    });
    expect(resolve(book, { S: 'https://s' }, noFile)).toMatchObject({
      ok: false,
      missing: [{ variable: 'C', steps: [], wall: false }],
    });
  });

  test('a skipped step needs nothing', () => {
    const book = runbook(
      '  - { uses: flag/file, with: { path: /f } }\n  - { id: r, uses: flag/redis, with: { url: "${R}" } }\n',
      { skip: ['r'] },
    );
    expect(resolve(book, {}, noFile)).toMatchObject({
      ok: true,
      named: [],
      steps: [{}, { id: 'r', skipped: '--skip', params: { url: '${R}' } }],
    });
  });

  test('what is missing, per step, walls first', () => {
    const resolution = unresolved(
      `  - { uses: flag/redis, with: { url: "\${REDIS_URL}" } }
  - { uses: notice/statuspage, with: { page: "\${PAGE:?the id is in the wiki}", token: "\${TOKEN}" } }
  - { uses: cache/http, with: { url: "http://h/\${EMPTY}", headers: { a: "\${file:x}" } } }
  - { uses: no-writes/postgres, with: { url: "\${SET}" } }
`,
      { EMPTY: '', SET: 'postgres://h/db' },
    );
    expect(resolution.missing).toEqual([
      { variable: 'REDIS_URL', steps: ['flag'], wall: true, why: 'not set' },
      { variable: 'PAGE', steps: ['statuspage'], wall: false, why: 'the id is in the wiki' },
      { variable: 'TOKEN', steps: ['statuspage'], wall: false, why: 'not set' },
      { variable: 'EMPTY', steps: ['cache'], wall: false, why: 'set but empty' },
      { variable: 'file:x', steps: ['cache'], wall: false, why: 'cannot be read (ENOENT)' },
    ]);
    const error = missingError(resolution, {
      lead: 'this laptop cannot end w-7k2p',
      tail: 'Nothing changed, prod stays read-only.',
      opening: true,
    });
    expect(error.exit).toBe(66);
    expect(error.message).toBe(
      'this laptop cannot end w-7k2p: 5 of 6 variables its runbook names are not set: REDIS_URL, PAGE, TOKEN, EMPTY, file:x. Nothing changed, prod stays read-only.',
    );
    expect(error.details).toEqual([
      'REDIS_URL  flag: a wall, writes stay refused without it',
      'PAGE       statuspage  the id is in the wiki',
      'TOKEN      statuspage',
      'EMPTY      cache  set but empty',
      'file:x     cache  cannot be read (ENOENT)',
    ]);
    expect(error.next).toEqual([advice('set them and run the same command again')]);
    const withoutThem = (steps: string[]) => maint('end', { skip: steps.join(',') });
    expect(missingError(resolution, { withoutThem }).next).toEqual([
      advice('set them and run the same command again'),
      maint('end', { skip: 'statuspage,cache' }),
    ]);
    const top = { ...resolution, missing: [...resolution.missing, { ...resolution.missing[0]!, steps: [] }] };
    expect(missingError(top, { withoutThem }).next).toHaveLength(1);
  });

  test('a command that is a wall is one', () => {
    const steps = '  - { uses: command, with: { observe: [a], write: ["${X}"], role: wall } }\n';
    expect(unresolved(steps, {}).missing[0]).toMatchObject({ wall: true });
  });

  test('a value of no use is told without the value', () => {
    const resolution = unresolved(
      '  - { uses: flag/redis, with: { url: "${R}" } }\n  - { uses: crons/crontab, with: { most: "${M}" } }\n',
      { R: 'hunter2', M: 'hunter3' },
    );
    expect(resolution.missing).toEqual([]);
    expect(resolution.unusable.map(({ step, path, text, wall }) => [step, path, text, wall])).toEqual([
      ['flag', 'with.url', '${R}', true],
      ['crons', 'with.most', '${M}', false],
    ]);
    const error = missingError(resolution);
    expect([error.exit, error.message]).toEqual([
      66,
      '2 values that its variables give are not usable: flag with.url, crons with.most. Nothing changed.',
    ]);
    expect(JSON.stringify([error.details, error.message])).not.toContain('hunter');
  });

  test('the full checklist resolves', () => {
    const book = parseRunbook({ text: FULL, path: '/w/p.yaml', folder: '/w' }, registry);
    const env = { REDIS_URL: 'redis://h', STATUSPAGE_TOKEN: 'tttt', DATABASE_URL: 'postgres://app:pw@db/x' };
    const resolution = resolve(book, env, noFile);
    expect(resolution).toMatchObject({ ok: true, named: ['REDIS_URL', 'STATUSPAGE_TOKEN', 'DATABASE_URL'] });
    expect(resolution.secrets).toEqual(['postgres://app:pw@db/x', 'tttt', 'pw']);
  });
});
