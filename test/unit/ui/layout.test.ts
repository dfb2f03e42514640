import { describe, expect, test } from '@jest/globals';
import { breakLine, clean, cut, dress, near, paint, width } from '../../../src/ui/layout.ts';

describe('clean', () => {
  test('what a server wrote cannot move the cursor, ring, or turn the text around', () => {
    expect(clean('a\x1b[2J\x1b[31mred\x1b[0m\x07b')).toBe('aredb');
    expect(clean('one\r\ntwo\n\n  three\tfour')).toBe('one two three four');
    expect(clean('abc\u202Edef\u2066g\u200B')).toBe('abcdefg');
    expect(clean('\x9b31mx\x1b]0;title\x07y')).toBe('xy');
  });
});

describe('width and cut', () => {
  test('in cells, not in code units', () => {
    expect(width('prod')).toBe(4);
    expect(width('✔ · – …')).toBe(7);
    expect(width('維護')).toBe(4);
    expect(width('🚨')).toBe(2);
    expect(width('e\u0301')).toBe(1);
  });
  test('a cut never exceeds its room', () => {
    expect(cut('reindex documents', 8)).toBe('reindex…');
    expect(cut('維護維護', 4)).toBe('維…');
    expect(cut('abc', 3)).toBe('abc');
    expect(cut('abc', 0)).toBe('');
  });
});

describe('breakLine', () => {
  test('a pipe gets the line as it is', () => {
    expect(breakLine('a '.repeat(200), undefined)).toEqual(['a '.repeat(200)]);
  });
  test('the rest stands below its column', () => {
    expect(
      breakLine('  crons       crons/crontab www-data   ~ 7 to suspend · 1 kept (heartbeat.sh) · 1 already off', 80),
    ).toEqual([
      '  crons       crons/crontab www-data   ~ 7 to suspend · 1 kept (heartbeat.sh) ·',
      '              1 already off',
    ]);
    expect(breakLine('E_WINDOW_OPEN  prod is already read-only: w-7k2p by ana@lapis. Nothing changed.', 60)).toEqual([
      'E_WINDOW_OPEN  prod is already read-only: w-7k2p by',
      '               ana@lapis. Nothing changed.',
    ]);
  });
  test('a command is never broken: half of it must not run when it is pasted', () => {
    const command = `maint start --window 30m --reason "${'x'.repeat(60)}"`;
    expect(breakLine({ head: 'Next: ', parts: ['maint status ·', `${command} ·`, 'maint end'] }, 50)).toEqual([
      'Next: maint status ·',
      `      ${command} ·`,
      '      maint end',
    ]);
  });
  test.each([24, 60, 100, 160])('no line is wider than %i, no word is lost', (columns) => {
    const line =
      '  statuspage  notice/statuspage   + maintenance, in progress, 02:00–02:30 UTC · contact #ops · components Search, Ingestion';
    const lines = breakLine(line, columns);
    expect(Math.max(...lines.map(width))).toBeLessThanOrEqual(columns);
    expect(lines.join(' ').match(/\S+/g)).toEqual(line.match(/\S+/g));
  });
});

describe('paint and near', () => {
  test('colours change nothing that is written', () => {
    for (const line of [
      'E_FAILED  x',
      'Next: maint end',
      '  ✔ flag  ok',
      '  flag  flag/file x   + our holder',
      'prod is READ-ONLY · w-1',
      'plain',
    ]) {
      expect(clean(paint(line))).toBe(line);
    }
    expect(paint('  ✘ crons  x')).toBe('  \x1b[31m✘\x1b[39m crons  x');
    expect(paint('plain')).toBe('plain');
  });
  test('no colours where none are wanted', () => {
    expect(dress(['E_FAILED  x'], { colours: false })).toEqual(['E_FAILED  x']);
    expect(dress(['E_FAILED  x'], { colours: true })[0]).toContain('\x1b[');
  });
  test('paths as one would type them', () => {
    expect(near('sqlite /home/ana/.local/state/maint/state.db', '/srv/app', '/home/ana')).toBe(
      'sqlite ~/.local/state/maint/state.db',
    );
    expect(near('/srv/app/runbooks/prod.yaml', '/srv/app', '/home/ana')).toBe('runbooks/prod.yaml');
    expect(near('/srv/app/x', '/', '/')).toBe('/srv/app/x');
  });
});
