// A window as a file: every event of a released journal is known, what is broken is told with its line, and nothing that
// somebody does to the file gets through or ends in a stack trace.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Recorded } from '../../../src/engine/events.ts';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { RunbookError } from '../../../src/runbook/problems.ts';
import { loadWindowFile, type WindowFile, windowFileText } from '../../../src/runbook/window-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'maint-window-file-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'w.json');

const golden = JSON.parse(readFileSync(new URL('../../support/journals/0.1.0.json', import.meta.url), 'utf8')) as
  | { events: Recorded[] }
  | Recorded[];
const events = Array.isArray(golden) ? golden : golden.events;
const whole: WindowFile = {
  maint: '0.1.0',
  exportedAt: '2026-11-24T02:30:00.000Z',
  window: 'w-7k2p9x',
  environment: (events[0]!.event as { environment: string }).environment,
  live: false,
  copy: false,
  events,
};
const text = windowFileText(whole);
function load(of: string): WindowFile {
  writeFileSync(path, of);
  return loadWindowFile(path, '0.1.0');
}
function problem(of: string) {
  try {
    load(of);
  } catch (error) {
    if (error instanceof RunbookError) return error.problems[0];
    throw error;
  }
  return undefined;
}

test('what is written is read back, every event of a released journal', () => {
  expect(load(text)).toEqual(whole);
  expect(new Set(events.map(({ event }) => event.type)).size).toBeGreaterThan(10);
});

test('the exact place, the value, what is allowed', () => {
  const line = (part: string) => text.slice(0, text.indexOf(part)).split('\n').length;
  const at = (part: string, instead: string) => problem(text.replace(part, instead));
  expect(at('"seq": 3,', '"seq": 7,')).toMatchObject({
    line: line('"seq": 3,'),
    path: 'events[2].seq',
    found: '7',
    allowed: '3',
  });
  expect(at('"type": "reached"', '"type": "reacked"')).toMatchObject({
    line: line('"type": "reached"'),
    found: '"reacked"',
    allowed: expect.stringContaining('reached, extended'),
  });
  expect(at('"copy": false', '"copy": "no"')).toMatchObject({ line: line('"copy"'), path: 'copy' });
  expect(at('"type": "opened"', '"type": "note"')).toMatchObject({ path: expect.stringContaining('events[0]') });
  expect(at(`"environment": "${whole.environment}"`, '"environment": "other"')).toMatchObject({ path: 'environment' });
  expect(at('"token": 1', '"token": 2')).toMatchObject({ path: 'sha256' });
});

test('a newer release is named, and only where it wrote what is not known here', () => {
  const newer = { ...whole, maint: '0.2.0' };
  expect(load(windowFileText(newer))).toEqual(newer);
  const more = { ...newer, events: [...events, { ...events[0]!, seq: events.length + 1, event: { type: 'new' } }] };
  for (const newest of [windowFileText(more as WindowFile), text.replace('"version": 1', '"version": 2')])
    expect(() => load(newest)).toThrow(expect.objectContaining({ code: 'E_NEWER_STATE', exit: 64 }));
});

test('whatever is done to the file: refused in words', () => {
  fc.assert(
    fc.property(
      fc.nat(text.length - 1),
      fc.nat(40),
      fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom('null', '[]', '{}', '"', '-1', '1e999', '__proto__', '')),
      (from, length, instead) => {
        const edited = text.slice(0, from) + instead + text.slice(from + length);
        try {
          expect(load(edited)).toEqual(whole);
        } catch (error) {
          if (!(error instanceof MaintError)) throw error;
          expect([64, 65]).toContain(error.exit);
        }
      },
    ),
    { numRuns: 300 },
  );
});
