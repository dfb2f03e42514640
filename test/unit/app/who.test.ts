import { expect, test } from '@jest/globals';
import { personOf } from '../../../src/app/who.ts';

const root = { user: 'root', host: 'lapis' };
const ana = { user: 'ana', host: 'lapis' };

test.each([
  ['the account', undefined, {}, ana, 'ana@lapis'],
  ['who called sudo', undefined, { SUDO_USER: 'ana' }, root, 'ana@lapis'],
  [
    'who called sudo for a shared account',
    undefined,
    { SUDO_USER: 'ana' },
    { user: 'deploy', host: 'lapis' },
    'ana@lapis',
  ],
  ['who called doas', undefined, { DOAS_USER: 'ben' }, root, 'ben@lapis'],
  ['sudo by root itself', undefined, { SUDO_USER: 'root' }, root, 'root@lapis'],
  ['an empty SUDO_USER', undefined, { SUDO_USER: '' }, root, 'root@lapis'],
  ['a variable that would break the line', undefined, { SUDO_USER: 'a\nb' }, root, 'root@lapis'],
  ['who began a CI job', undefined, { CI: 'true', GITHUB_ACTOR: 'ana' }, { user: 'runner', host: 'ci-1' }, 'ana@ci-1'],
  ['GitLab’s', undefined, { CI: 'true', GITLAB_USER_LOGIN: 'ben' }, root, 'ben@lapis'],
  ['a leftover of CI on a laptop', undefined, { GITHUB_ACTOR: 'ben' }, ana, 'ana@lapis'],
  ['--by', 'ana', {}, root, 'ana@lapis (root)'],
  ['--by before everything else', 'cleo', { MAINT_BY: 'ana', SUDO_USER: 'ben' }, root, 'cleo@lapis (root)'],
  ['--by with an address', 'ana@example.com', {}, root, 'ana@example.com (root@lapis)'],
  ['--by that is the account', 'ana', {}, ana, 'ana@lapis'],
  ['MAINT_BY', undefined, { MAINT_BY: 'Ana Torres', SUDO_USER: 'ben' }, root, 'Ana Torres@lapis (root)'],
  ['an empty MAINT_BY', undefined, { MAINT_BY: '' }, ana, 'ana@lapis'],
])('%s', (_what, named, env, account, person) => {
  expect(personOf(named, env, account)).toBe(person);
});

test.each([
  ['', '--by "" is not a name. Nothing changed.'],
  ['a\nb', '--by "a\\nb" is not a name. Nothing changed.'],
  ['x'.repeat(61), `--by "${'x'.repeat(61)}" is not a name. Nothing changed.`],
])('--by %j is refused', (named, message) => {
  expect(() => personOf(named, {}, root)).toThrow(
    expect.objectContaining({ code: 'E_USAGE', message, next: [{ advice: '--by ana' }] }),
  );
});

test('a wrong MAINT_BY is named as such', () => {
  expect(() => personOf(undefined, { MAINT_BY: '\u001b[31m' }, root)).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(/^MAINT_BY /),
      next: [{ advice: 'export MAINT_BY=ana' }],
    }),
  );
});
