// Every place that shortens a text shortens it between two characters, as people see them.
import { describe, expect, test } from '@jest/globals';
import { redacted } from '../../../packages/intents/src/judge.ts';
import { beginning, cutText } from '../../../src/engine/cut.ts';
import { fenced } from '../../../src/report/markup.ts';
import { changeWords } from '../../../src/report/state-words.ts';
import { quoted } from '../../../src/runbook/problems.ts';
import { details } from '../../../src/steps/notice/notice.ts';
import { WINDOW } from '../../support/drive.ts';

const ROCKET = '🚀';
const FAMILY = '👩‍👩‍👧‍👦';
const FLAG = '🇩🇪';
const ACCENT = 'e\u0301';
const SCOTLAND = '🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}';
const CHARACTERS = [ROCKET, FAMILY, FLAG, ACCENT, SCOTLAND, '👍🏽', 'กำ', '한'.normalize('NFD')];

describe('cutText', () => {
  test.each(CHARACTERS)('%s is there whole or not at all, wherever the end falls', (character) => {
    for (let most = 1; most < 40; most++) {
      const text = `ab${character.repeat(3)}cd${'x'.repeat(40)}`;
      const short = cutText(text, most);
      expect(short.length).toBeLessThanOrEqual(most);
      expect(short.endsWith('…')).toBe(true);
      const whole = [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
      const kept = [...new Intl.Segmenter().segment(short.slice(0, -1))].map(({ segment }) => segment);
      expect(kept).toEqual(whole.slice(0, kept.length));
    }
  });
  test('what fits stays as it is', () => {
    expect(cutText(FAMILY, FAMILY.length)).toBe(FAMILY);
    expect(beginning('abc', 3)).toBe('abc');
  });
  test('a character without an end is not shown in parts', () => {
    expect(cutText(`a${'\u0301'.repeat(5000)}`, 10)).toBe('…');
  });
  test('a text of 20 MB costs no more than its beginning', () => {
    const began = process.cpuUsage();
    cutText(FAMILY.repeat(1_000_000), 200);
    expect(process.cpuUsage(began).user).toBeLessThan(500_000);
  });
});

describe('the places', () => {
  const halves = (text: string) => !text.isWellFormed() || /\uFFFD|\u200D(?=…|$|"|\n)/.test(text);
  test.each(CHARACTERS)('%s', (character) => {
    for (let before = 0; before < 30; before++) {
      const text = (length: number) => `${'a'.repeat(length - 30 + before)}${character}${'b'.repeat(60)}`;
      expect(halves(quoted(text(80)))).toBe(false);
      expect(halves(redacted(text(200), []))).toBe(false);
      expect(halves(fenced(JSON.stringify(text(4000)))[1]!)).toBe(false);
      expect(halves(changeWords(null, { value: text(300) }))).toBe(false);
      const window = { ...WINDOW, reason: text(1000), note: text(1000) };
      expect(halves(details('open', window, { statusPage: false }).join('\n'))).toBe(false);
    }
  });
  test('a character with joiners survives in the reason of a dead letter', () => {
    expect(redacted(`no ${FAMILY} here\u202E`, [])).toBe(`no ${FAMILY} here `);
  });
  test('a secret at the edge is not shown by half', () => {
    expect(redacted(`${'x '.repeat(1990)}token=abcdefghijklmnopqrstuvwxyz`, [])).not.toContain('abc');
  });
});
