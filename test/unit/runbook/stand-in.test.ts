import { expect, test } from '@jest/globals';
import { parseRunbook } from '../../../src/runbook/load.ts';
import { resolveInert } from '../../../src/runbook/stand-in.ts';
import { registry } from '../../../src/steps/index.ts';

const none = (): string => {
  throw Object.assign(new Error('no'), { code: 'ENOENT' });
};
function inert(text: string, env: Record<string, string> = {}) {
  const runbook = parseRunbook({ text, path: 'prod.yaml', folder: '/srv' }, registry);
  return resolveInert(runbook, env, none);
}
const head = 'version: 1\nenvironment: prod\ncontact: "${CONTACT}"\nsteps:\n';

test('what is not set gets a stand-in of the kind that is wanted', () => {
  const { steps, missing } = inert(
    `${head}  - { uses: flag/redis, with: { url: "\${REDIS_URL}", key: "\${KEY}" } }
  - { uses: notice/slack, with: { url: "https://\${HOST}", channel: "#ops", token: "\${file:/run/secrets/slack}" } }
`,
  );
  expect(steps.map((step) => step.skipped)).toEqual([undefined, undefined]);
  expect(steps[0]!.params.url).toContain('.invalid');
  expect(missing.sort()).toEqual(['CONTACT', 'HOST', 'KEY', 'REDIS_URL', 'file:/run/secrets/slack']);
});

test('what is set is taken, and is a secret', () => {
  const { steps, missing, secrets, contact } = inert(
    `${head}  - { uses: flag/redis, with: { url: "\${REDIS_URL}" } }\n`,
    { REDIS_URL: 'redis://:pw@cache:6379', CONTACT: '#ops' },
  );
  expect(steps[0]!.params.url).toBe('redis://:pw@cache:6379');
  expect(secrets).toContain('pw');
  expect([missing, contact]).toEqual([[], '#ops']);
});

test('where nothing fits, the step is left out with the reason', () => {
  const { steps } = inert(
    `${head}  - { uses: flag/redis, with: { url: "x\${REDIS_URL}" } }\n  - { id: other, uses: flag/file, with: { path: /tmp/f } }\n`,
  );
  expect(steps[0]!.skipped).toMatch(/with\.url cannot be rehearsed/);
  expect(steps[1]!.skipped).toBeUndefined();
});
