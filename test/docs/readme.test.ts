// The README is true: its five minutes are run as they stand, its transcript is compared, its runbook is checked, every
// other command in it is one that exists.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { EXIT_MEANS } from '../../src/errors/exit-codes.ts';
import { BIN, maint } from '../support/cli.ts';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const blocks = (kind: string) =>
  [...README.matchAll(new RegExp(`\`\`\`${kind}\n([\\s\\S]*?)\`\`\``, 'g'))].map((match) => match[1]!);

/** Times, ids, durations and names of machines are other ones every night. */
function sameEveryNight(text: string): string {
  return (
    text
      .replace(/w-[0-9a-z]{6}/g, 'w-ID')
      // a window over midnight names its days
      .replace(/\d{4}-\d\d-\d\d (?=\d\d:\d\d)/g, '')
      .replace(/(\d\d:\d\d) – (?=\d\d:\d\d)/g, '$1–')
      .replace(/\d\d:\d\d(:\d\d)?/g, 'TIME')
      .replace(/by \S+@\S+/g, 'by WHO')
      .replace(/\([^()]* left\)/g, '(LEFT)')
      .replace(/\d+(\.\d+)?m?s$/gm, 'LASTED')
      .replace(/\(\d+s of 60s\)/g, '(LASTED)')
      .replace(/read-only for [\d.]+m?s/g, 'read-only for LASTED')
      .replace(/reindex\.sh-[0-9a-f]{10}/g, 'reindex.sh-HASH')
      .replace(/ +$/gm, '')
      .trim()
  );
}

test('the five minutes, as they stand', () => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-readme-'));
  try {
    const [setUp] = blocks('sh');
    const [console_] = blocks('console');
    // The checkout and its build are here; the folder is one of our own.
    const prepared = setUp!
      .replace(/^npm ci && npm run build\n/, '')
      .replace(/^export PATH=.*\n/m, '')
      .replace(/^checkout=.*$/m, `maint() { "${process.execPath}" "${BIN}" "$@"; }`)
      .replaceAll('/tmp/night', folder);
    const commands = console_!
      .split('\n')
      .filter((line) => line.startsWith('$ '))
      .map((line) => line.slice(2));
    const expected = console_!.split(/^\$ .*\n/m).slice(1);
    const script = [
      prepared,
      ...commands.map((command) => `echo "@@@"; ${command.replace(/ +#.*/, '')} 2>&1; echo "@@ $?"`),
    ].join('\n');
    const { stdout, stderr } = spawnSync('sh', ['-c', script], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', HOME: folder },
    });
    expect(stderr).toBe('');
    const seen = stdout.split('@@@\n').slice(1);
    expect(seen).toHaveLength(commands.length);
    for (const [at, command] of commands.entries()) {
      const [, output, code] = /^([\s\S]*?)\n?@@ (\d+)\n$/.exec(seen[at]!)!;
      expect([command, Number(code)]).toEqual([command, Number(/# exit (\d+)/.exec(command)?.[1] ?? 0)]);
      expect(sameEveryNight(output!)).toBe(sameEveryNight(expected[at]!.replaceAll('/tmp/night', folder)));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

test('the runbook is one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-readme-'));
  try {
    const [runbook] = blocks('yaml');
    writeFileSync(join(folder, 'runbook.yaml'), runbook!);
    writeFileSync(
      join(folder, 'surfaces.yaml'),
      'version: 1\nsurfaces:\n  - { name: documents, kind: http, match: { methods: [POST], path: /documents }, disposition: refuse, canary: { method: POST, path: /documents } }\n',
    );
    const checked = await maint(['runbook', 'check', 'runbook.yaml'], { cwd: folder });
    expect([checked.output, checked.code]).toEqual([expect.stringContaining('0 problems'), 0]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the steps of the queue go into a runbook', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-readme-'));
  try {
    const [, steps] = blocks('yaml');
    const wall = '  - { uses: flag/file, with: { path: read-only.json } }';
    writeFileSync(
      join(folder, 'runbook.yaml'),
      `version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n${wall}\n${steps}`,
    );
    const checked = await maint(['runbook', 'check', 'runbook.yaml'], { cwd: folder });
    expect([checked.code, checked.output]).toEqual([0, expect.stringContaining('0 problems (3 steps')]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('every command that it names is one', () => {
  const named = [...README.matchAll(/`maint ([a-z]+)/g)].map((match) => match[1]!);
  const help = execFileSync(process.execPath, [BIN, '--help'], { encoding: 'utf8' });
  for (const command of new Set(named)) expect(help).toMatch(new RegExp(`^  ${command} `, 'm'));
  const scripts = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).scripts;
  for (const [, script] of README.matchAll(/npm (?:run )?(demo|test|sweep|bench|generate|build)/g))
    expect(scripts).toHaveProperty(script!);
});

test('its exit codes are those of the one table', () => {
  const rows = Object.entries(EXIT_MEANS).map(([code, means]) => `| ${code} | ${means} |`);
  expect(README).toContain(`| code | means |\n| --- | --- |\n${rows.join('\n')}\n`);
});
