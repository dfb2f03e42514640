// Two readers of one file: what `runbook check` lets through, the guard of every service has to take.
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { createGuard, type WriteQueue } from '../../../packages/guard/src/index.ts';
import { parseSurfaces } from '../../../src/runbook/surfaces.ts';

const KINDS = ['http', 'graphql', 'vector', 'kv', 'tool', 'job', 'other'];
const MATCHES = [
  '{ methods: [POST], path: "/a/:id" }',
  '{ path: "/a/:id?" }',
  '{ path: "/a/*" }',
  '{ path: /a }',
  '{ names: [x] }',
  '{ names: ["x.*"] }',
  '{ names: [x], path: /a }',
  '{ path: /a, operations: [mutation] }',
  '{ operations: ["nonsense:x"], path: /a }',
  '{ methods: [GET], path: /a }',
  '{ methods: [OPTIONS], path: /a }',
  '{ names: [] }',
  '{}',
];
const DISPOSITIONS = ['refuse', 'buffer', 'drop', 'pass', 'other'];
const MORE = [
  '',
  'status: 204',
  'status: 423',
  'status: 404',
  'order: { param: id }',
  'order: { param: nope }',
  'order: { header: x-a }',
  'tenant: { param: id }',
  'key: content',
  'credential: user',
  'keep_headers: [authorization]',
  'keep_headers: [x-trace]',
  'keep_headers: [x-acme-session]',
  'not_credentials: [x-acme-session], keep_headers: [x-acme-session]',
  'not_credentials: [cookie]',
  'max_bytes: 0',
  'purpose: login',
];
const queue: WriteQueue = {
  accept: async () => ({ is: 'full', why: '' }),
  receipt: async () => null,
  depth: () => ({ queued: 0, bytes: 0, oldestMs: null }),
  pending: () => false,
  busy: async () => false,
};

function takes(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

test('every surface that the file may hold is one that the guard takes', () => {
  const looser: string[] = [];
  let both = 0;
  for (const kind of KINDS)
    for (const match of MATCHES)
      for (const disposition of DISPOSITIONS)
        for (const more of MORE) {
          const text = `version: 1\nsurfaces:\n  - name: s\n    kind: ${kind}\n    match: ${match}\n    disposition: ${disposition}\n${more ? `    ${more}\n` : ''}`;
          if (!takes(() => parseSurfaces(text, 's.yaml'))) continue;
          const source = { start() {}, close() {} };
          const guarded = takes(
            () => void createGuard({ source, surfaces: parse(text), queue, authorize: 'elsewhere', log() {} }).close(),
          );
          if (guarded) both++;
          else looser.push(text);
        }
  expect(looser).toEqual([]);
  expect(both).toBeGreaterThan(200);
});
