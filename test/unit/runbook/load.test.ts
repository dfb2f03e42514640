import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { loadRunbook, parseRunbook, type RunbookOptions } from '../../../src/runbook/load.ts';
import { RunbookError } from '../../../src/runbook/problems.ts';
import { nextText } from '../../../src/ui/next.ts';
import { BAD_FILES } from './bad-files.ts';
import { FULL, registry } from './registry.ts';

const SMALL = 'version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n  - { uses: flag/file, with: { path: f } }\n';

function parse(text: string, options: RunbookOptions = {}, surfacesText?: string) {
  return parseRunbook({ text, path: 'p.yaml', folder: '/w', surfacesText }, registry, options);
}

function thrown(act: () => unknown): MaintError {
  try {
    act();
  } catch (error) {
    if (error instanceof MaintError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

async function rejected(act: Promise<unknown>): Promise<MaintError> {
  return act.then(
    () => {
      throw new Error('nothing was thrown');
    },
    (error) => {
      if (error instanceof MaintError) return error;
      throw error;
    },
  );
}

describe('what is said about a bad file', () => {
  const plugins = [...registry.keys()].join(', ');
  test.each(BAD_FILES)('%s', (_name, text, says) => {
    const error = thrown(() => parse(text));
    expect(error).toBeInstanceOf(RunbookError);
    expect(error.exit).toBe(65);
    expect(error.details).toEqual(says.map((line) => `p.yaml:${line.replace('PLUGINS', plugins)}`));
    expect((error as RunbookError).problems).toHaveLength(says.length);
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  test('the places are data too', () => {
    const { problems } = thrown(() => parse(SMALL.replace('flag/file', 'flag/fiel'))) as RunbookError;
    expect(problems).toEqual([
      {
        file: 'p.yaml',
        line: 5,
        column: 13,
        path: 'steps[0].uses',
        code: 'unknown_plugin',
        message: 'is no plugin',
        found: '"flag/fiel"',
        allowed: plugins,
        nearest: 'flag/file',
      },
    ]);
  });

  test('what to type next names the plugin', () => {
    expect(thrown(() => parse(SMALL.replace('path:', 'pth:'))).next.map((one) => nextText(one))).toEqual([
      'maint steps flag/file',
      'maint runbook check p.yaml',
    ]);
  });
});

describe('a good file', () => {
  test('the full checklist', () => {
    const runbook = parse(FULL);
    expect(runbook).toMatchObject({
      name: '60-second checklist',
      environment: 'prod',
      budgetMs: 60_000,
      soakMs: 300_000,
      onExpiry: 'hold',
      contact: '#ops-oncall',
      environments: ['prod', 'staging'],
      folder: '/w',
      path: '/w/p.yaml',
      text: FULL,
    });
    expect(runbook.steps.map(({ id, deadlineMs, group }) => [id, deadlineMs, group])).toEqual([
      ['flag', 30_000, undefined],
      ['statuspage', 30_000, 0],
      ['files', 30_000, 0],
      ['crons', 90_000, undefined],
      ['cache', 30_000, undefined],
      ['no-writes', 60_000, undefined],
      ['reads', 30_000, undefined],
    ]);
    expect(runbook.steps[3]).toMatchObject({
      release: 'after-backfill',
      pacePerMinute: 20,
      with: { keep: ['heartbeat.sh'] },
    });
    expect(runbook.steps[6]).toMatchObject({ onBad: 'refreeze', line: 19 });
  });

  test('an environment replaces keys of `with`, whole, and skips', () => {
    const runbook = parse(FULL, { environment: 'staging' });
    expect(runbook).toMatchObject({ environment: 'staging', contact: '#staging' });
    expect(runbook.steps[0]!.with).toEqual({ url: '${REDIS_URL}', key: 'other' });
    expect(runbook.steps[1]!.skipped).toBe('no public page');
  });

  test('defaults', () => {
    expect(parse(SMALL)).toMatchObject({ name: 'p', budgetMs: 60_000, soakMs: 300_000, onExpiry: 'hold' });
  });

  test('variables skip the checks of form, and only these', () => {
    const most = (value: string) => `${SMALL}  - { uses: crons/crontab, with: { most: "${value}", quiet: "\${Q}" } }\n`;
    expect(parse(most('${MOST}')).steps[1]!.with).toEqual({ most: '${MOST}', quiet: '${Q}' });
    expect(() => parse(most('5'))).toThrow(RunbookError);
    expect(
      parse(`${SMALL}  - { uses: soak/http, with: { probes: [{ url: "\${U}", expect: "\${E}" }, "\${V}/x"] } }\n`),
    ).toBeTruthy();
  });

  test('aliases are followed', () => {
    const text = `${SMALL}  - { id: a, uses: crons/crontab, with: { keep: &keep [x, y] } }\n  - { id: b, uses: crons/crontab, with: { user: u, keep: *keep } }\n`;
    expect(parse(text).steps[2]!.with).toEqual({ user: 'u', keep: ['x', 'y'] });
  });

  test('a wall in order, a command that is none, and one that is skipped', () => {
    const text = `${SMALL}  - { uses: datastore/postgres, with: { url: "\${D}" } }\n  - { uses: command, with: { observe: [a], write: [b] } }\n  - { id: f, skip: later, uses: flag/redis, with: { url: "\${U}" } }\n`;
    expect(parse(text).steps).toHaveLength(4);
  });
});

describe('--env, --only, --skip', () => {
  test('only and skip name steps', () => {
    expect(parse(FULL, { only: ['flag', 'crons'] }).steps.flatMap((step) => (step.skipped ? [] : [step.id]))).toEqual([
      'flag',
      'crons',
    ]);
    expect(parse(FULL, { skip: ['flag'] }).steps[0]!.skipped).toBe('--skip');
  });
  test.each<[RunbookOptions, string, string[]]>([
    [{ only: ['falg'] }, '--only names "falg", and no step has that id.', ['--only flag']],
    [{ skip: ['zzzzzz'] }, '--skip names "zzzzzz", and no step has that id.', ['maint runbook show']],
    [{ environment: 'stagin' }, '--env names "stagin", and p.yaml has no such environment.', ['--env staging']],
    [{ only: ['flag'], skip: ['flag'] }, 'Every step of p.yaml is skipped.', ['maint runbook show']],
  ])('%j', (options, message, next) => {
    const error = thrown(() => parse(FULL, options));
    expect([error.exit, error.message, error.next.map((one) => nextText(one))]).toEqual([64, message, next]);
    expect(error.details.join()).toContain(options.environment ? 'prod, staging' : 'flag');
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'runbook-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const write = (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };

  test('a runbook with its surfaces', async () => {
    const surfaces =
      'version: 1\nsurfaces:\n  - { name: docs, kind: http, disposition: refuse, match: { methods: [POST], path: /docs } }\n';
    write('s.yaml', surfaces);
    const path = write('prod.yaml', `${SMALL}surfaces: ./s.yaml\n`);
    const runbook = await loadRunbook(path, registry);
    expect(runbook).toMatchObject({
      path,
      folder,
      name: 'prod',
      surfacesText: surfaces,
      surfacesPath: join(folder, 's.yaml'),
    });
    expect(runbook.surfaces[0]).toMatchObject({ name: 'docs', status: 503 });
    const { text, surfacesText } = runbook;
    expect(parseRunbook({ text, path, folder, surfacesText }, registry)).toEqual({ ...runbook, stored: true });
  });

  test('problems of both files at once', async () => {
    write(
      's2.yaml',
      'version: 1\nsurfaces:\n  - { name: docs, kind: htp, disposition: refuse, match: { methods: [POST], path: /docs } }\n',
    );
    const path = write('two.yaml', `${SMALL.replace('flag/file', 'flag/fiel')}surfaces: s2.yaml\n`);
    const error = await rejected(loadRunbook(path, registry));
    expect(error.details).toEqual([
      expect.stringContaining(`${path}:5:13  steps[0].uses  is no plugin  found "flag/fiel"`),
      `${join(folder, 's2.yaml')}:3:25  surfaces[0].kind  is not one of the values  found "htp"  allowed http, graphql, vector, kv, tool, job  did you mean http?`,
    ]);
  });

  test('surfaces that are not there', async () => {
    const path = write('three.yaml', `${SMALL}surfaces: nowhere.yaml\n`);
    const error = await rejected(loadRunbook(path, registry));
    expect(error.exit).toBe(65);
    expect(error.details[0]).toContain(':6:11  surfaces  is not there  found "nowhere.yaml"');
  });

  test.each<[string, (path: string) => void, string, number]>([
    ['not there', () => {}, 'is not there.', 64],
    ['a folder', (path) => mkdirSync(path), 'is a folder.', 64],
    ['a device', (path) => symlinkSync('/dev/zero', path), 'is no plain file.', 64],
    ['10 MB', (path) => writeFileSync(path, '# x\n'.repeat(2_500_000)), 'has 1 problem.', 65],
    [
      'random bytes',
      (path) =>
        writeFileSync(
          path,
          Uint8Array.from({ length: 999 }, (_, i) => (i * 7919) % 256),
        ),
      'has 1 problem.',
      65,
    ],
    ['UTF-16', (path) => writeFileSync(path, Buffer.from(SMALL, 'utf16le')), 'has 1 problem.', 65],
  ])('%s', async (name, make, words, exit) => {
    const path = join(folder, name.replaceAll(' ', '-'));
    make(path);
    const begin = performance.now();
    const error = await rejected(loadRunbook(path, registry));
    expect(performance.now() - begin).toBeLessThan(1000);
    expect(error.exit).toBe(exit);
    expect(error.message).toContain(words);
  });

  test('a byte order mark is no problem', async () => {
    expect(await loadRunbook(write('bom.yaml', `\uFEFF${SMALL}`), registry)).toBeTruthy();
  });
});
