// A part of the truth sweep: each backend with each trouble, the verbs by turns. npm run sweep:truth tries all.
import { describe, expect, test } from '@jest/globals';
import { describeWith } from '../support/servers.ts';
import { allCases, BACKENDS, type Backend, lies, TROUBLES, tryCase, VERBS } from './truth.ts';

function part(backend: Backend) {
  const turn = BACKENDS.indexOf(backend);
  return allCases().filter(
    (one) =>
      one.backend === backend &&
      // the status of each trouble, and one other verb
      (one.verb === 'status' || VERBS.indexOf(one.verb) === ((TROUBLES.indexOf(one.trouble) * 2 + turn) % 8) + 1),
  );
}

for (const backend of BACKENDS)
  (backend === 'flag/redis' ? (name: string, body: () => void) => describeWith('redis', name, body) : describe)(
    backend,
    () => {
      test.each(part(backend))(
        '$trouble, $verb',
        async (one) => {
          expect(await tryCase(one)).toEqual([]);
        },
        60_000,
      );
    },
  );

test('a lie is seen as one', () => {
  const ran = (output: string, code: number) => ({ output, stdout: output, stderr: '', code, signal: null });
  expect(lies('status', ran('prod is READ-ONLY · w-1', 69), false)).toHaveLength(2);
  expect(lies('status', ran('prod has no open window.', 0), true)).toHaveLength(2);
  expect(lies('status', ran('prod: cannot tell · last seen read-only 02:00Z', 69), false)).toEqual([]);
  expect(lies('end', ran('prod was read-only for 3s. Everything is restored.', 0), true)).toHaveLength(1);
  expect(lies('extend', ran('prod stays read-only until 02:45Z', 0), true)).toEqual([]);
});
