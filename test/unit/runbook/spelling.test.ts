// Texts with a small language in them, where "the rest is the value" would hold nothing, allow everything, or only fail
// when it is sent. Refused when a file is read; never asked of what a window has stored.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadRunbook, parseRunbook } from '../../../src/runbook/load.ts';
import type { RunbookError } from '../../../src/runbook/problems.ts';
import { resolve } from '../../../src/runbook/variables.ts';
import { registry } from '../../../src/steps/index.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-spelling-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function textOf(uses: string, params: unknown): string {
  return `version: 1
environment: prod
contact: "#ops"
steps:
  - { uses: flag/file, with: { path: ro.json } }
  - { uses: ${uses}, with: ${JSON.stringify(params)} }
`;
}
let problems: RunbookError['problems'] = [];
async function read(text: string): Promise<string[]> {
  const path = join(folder, 'rb.yaml');
  writeFileSync(path, text);
  const failed = await loadRunbook(path, registry).then(
    () => undefined,
    (error: RunbookError) => error,
  );
  if (failed === undefined) return [];
  expect(failed.exit).toBe(65);
  problems = failed.problems;
  return problems.map((one) => `${one.path}  ${one.message}  did you mean ${one.nearest}?`);
}

const matcher = (text: string) => textOf('silence/alertmanager', { url: 'http://alerts:9093', matchers: [text] });
const MATCHER = 'steps[1].with.matchers[0]  is not one clear matcher';

describe('a matcher', () => {
  test.each([
    ['alertname="X",severity="page"', "2 entries: ['alertname=X', 'severity=page']"],
    ['alertname=X, severity=page', "2 entries: ['alertname=X', 'severity=page']"],
    ['alertname=X,severity!=page,team=~"a|b"', "3 entries: ['alertname=X', 'severity!=page', 'team=~a|b']"],
    ["alertname='X'", 'alertname=X'],
    ['alertname=`X Y`', 'alertname="X Y"'],
    ['alertname==X', 'alertname=X'],
    ['alertname === "X"', 'alertname=X'],
    ['alertname!==X', 'alertname!=X'],
    ['alertname~=X.*', 'alertname=~X.*'],
    ['alertname<>X', 'alertname!=X'],
    ['{alertname="X"}', 'alertname=X'],
    ['{alertname="X", severity="page"}', "2 entries: ['alertname=X', 'severity=page']"],
    ['instance=~web[0-9]{1,3}', 'instance=~"web[0-9]{1,3}"'],
    ['alertname=Writes refused', 'alertname="Writes refused"'],
    ['alertname="X', undefined],
    ['service.name=search', '"service.name"=search'],
    ["'service.name'=search", '"service.name"=search'],
    ['alertname', undefined],
    ['""=x', undefined],
  ])('%s', async (text, meant) => {
    expect(await read(matcher(text))).toEqual([`${MATCHER}  did you mean ${meant}?`]);
  });

  test.each([
    'alertname=X',
    ' alertname = X ',
    'alertname="X"',
    'alertname="X, Y = \\"Z\\" \'a\'"',
    'alertname=~"a{1,3}|b"',
    'alertname=~a{2}|b.*',
    'job!~x.*',
    '"service.name"=search',
    '"service \\"name\\"" =~ "a,b"',
    'env!=dev',
  ])('%s is clear', async (text) => {
    expect(await read(matcher(text))).toEqual([]);
  });

  test('from a variable it is judged when the value is known, and the value is not told', async () => {
    const path = join(folder, 'variable.yaml');
    writeFileSync(path, matcher('alertname=${ALERT}'));
    const runbook = await loadRunbook(path, registry);
    const resolved = (ALERT: string) => resolve(runbook, { ALERT }, () => '');
    expect(resolved('X')).toMatchObject({ ok: true });
    const wrong = resolved('hunter2,severity=page');
    expect(wrong).toMatchObject({ ok: false, unusable: [{ path: 'with.matchers[0]', text: 'alertname=${ALERT}' }] });
    expect(JSON.stringify((wrong as { unusable: unknown }).unusable)).not.toContain('hunter2');
  });

  test('an override of an environment is judged like the step', async () => {
    const text = `${matcher('alertname=X')}environments: { staging: { steps: { silence: { with: { matchers: ["a==b"] } } } } }\n`;
    expect(await read(text)).toEqual([
      'environments.staging.steps.silence.with.matchers[0]  is not one clear matcher  did you mean a=b?',
    ]);
  });
});

describe('the others', () => {
  const sqlite = (table: string) => textOf('no-writes/sqlite', { path: 'app.db', allow: [{ table, because: 'x' }] });
  const postgres = (table: string) =>
    textOf('no-writes/postgres', { url: 'postgres://db/app', allow: [{ table, because: 'x' }] });
  const redis = (key: string) => textOf('no-writes/redis', { url: 'redis://db', allow: [{ key, because: 'x' }] });
  const keep = (name: string) => textOf('crons/crontab', { file: 'app.cron', keep: [name] });
  const cache = (more: object) => textOf('cache/http', { url: 'http://cdn/x', ...more });
  const purged = (header: string) => cache({ check: { url: 'http://cdn/x', header } });

  test.each([
    [
      'keep: a path',
      keep('/opt/heartbeat.sh'),
      'keep[0]  is not the base name of a command  did you mean heartbeat.sh?',
    ],
    [
      'keep: a command',
      keep('heartbeat.sh --fast'),
      'keep[0]  is not the base name of a command  did you mean heartbeat.sh?',
    ],
    [
      'keep: a list',
      keep('a.sh, /opt/b.sh'),
      'keep[0]  is not the base name of a command  did you mean a.sh and b.sh?',
    ],
    ['keep: a pattern', keep('heart*'), 'keep[0]  is not the base name of a command  did you mean undefined?'],
    [
      'a table in SQL’s quotes',
      postgres('public."Order"'),
      'allow[0].table  is not the name of one table  did you mean public.Order?',
    ],
    [
      'a list of tables',
      sqlite('heartbeat, lag'),
      'allow[0].table  is not the name of one table  did you mean heartbeat and lag?',
    ],
    [
      'every table',
      postgres('*'),
      'allow[0].table  allows every write, so that nothing is checked any more  did you mean undefined?',
    ],
    [
      'every table of public, which is the default',
      postgres('public.*'),
      'allow[0].table  allows every write, so that nothing is checked any more  did you mean undefined?',
    ],
    [
      'every key',
      redis('**'),
      'allow[0].key  allows every write, so that nothing is checked any more  did you mean undefined?',
    ],
    [
      'a line of a request as a header',
      cache({ headers: { 'X-Key: 1': '' } }),
      'headers["X-Key: 1"]  is under "X-Key: 1", which is not the name of a header  did you mean X-Key: "1"?',
    ],
    [
      'a value with a line end',
      cache({ headers: { 'X-Key': 'a\nb' } }),
      'headers.X-Key  is not the value of a header (X-Key)  did you mean undefined?',
    ],
    [
      'a header with its value',
      purged('X-Cache: MISS'),
      'check.header  is not the name of a header  did you mean X-Cache?',
    ],
  ])('%s', async (_name, text, says) => {
    expect(await read(text)).toEqual([`steps[1].with.${says}`]);
  });

  test.each([
    ['keep', keep('heartbeat.sh')],
    ['a table with a space', sqlite('heart beat')],
    ['a part of the tables', postgres('metrics.*')],
    ['keys', redis('heartbeat:*')],
    ['headers', cache({ headers: { 'X-Key': 'a, b; c="d"' } })],
  ])('%s is clear', async (_name, text) => {
    expect(await read(text)).toEqual([]);
  });

  test('what a window has stored is not judged anew: it must end', () => {
    for (const text of [
      matcher('alertname==X'),
      matcher('a="b",c="d"'),
      keep('/opt/x.sh'),
      postgres('*'),
      purged('X: 1'),
    ])
      expect(parseRunbook({ text, path: '/w/p.yaml', folder: '/w' }, registry).steps).toHaveLength(2);
  });
});

describe('a surface', () => {
  async function surface(more: object): Promise<string[]> {
    const one = { name: 'docs', kind: 'http', match: { methods: ['POST'], path: '/docs' }, ...more };
    writeFileSync(join(folder, 's.yaml'), `version: 1\nsurfaces:\n  - ${JSON.stringify(one)}\n`);
    return await read(
      `${textOf('flag/file', { path: 'x' }).replace('flag/file, with: {"', 'flag/file, id: two, with: {"')}surfaces: s.yaml\n`,
    );
  }
  const path = (text: string) => surface({ match: { methods: ['POST'], path: text } });

  test.each([
    ['/docs/{id}', ':id'],
    ['/docs/{doc-id}/parts', ':id'],
    ['/docs/<int:number>', ':number'],
    ['/docs/[slug]', ':slug'],
    ['/docs/(a|b)', ':b'],
  ])('%s is the pattern of another tool', async (text, allowed) => {
    expect((await path(text)).join()).toContain('has a segment that is not a parameter here');
    expect(problems.map((one) => one.allowed)).toContain(allowed);
  });
  test('a canary’s header', async () => {
    const canary = { method: 'POST', path: '/docs', headers: { 'X-A: b': '' } };
    expect((await surface({ canary })).join()).toContain('is not a header');
  });
  test('its own patterns pass', async () => {
    expect(await path('/docs/:id?')).toEqual([]);
    expect(await path('/Patient/$everything')).toEqual([]);
  });
});
