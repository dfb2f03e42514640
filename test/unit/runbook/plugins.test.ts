import { expect, test } from '@jest/globals';
import { parseRunbook } from '../../../src/runbook/load.ts';
import { describePlugin } from '../../../src/runbook/plugins.ts';
import { registry } from '../../../src/steps/index.ts';

const all = [...registry.values()].map(describePlugin);

test.each(all.map((one) => [one.name, one] as const))(
  'the example of %s is a step that checks',
  (name, { example, id }) => {
    const text = `version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n${example.replace(/^/gm, '  ')}\n`;
    const { steps } = parseRunbook({ text, path: 'one.yaml', folder: '/srv' }, registry);
    expect(steps).toMatchObject([{ uses: name, id }]);
  },
);

test('params come with what they want, a default, and whether they are secret', () => {
  const slack = all.find((one) => one.name === 'notice/slack')!;
  expect(slack.params.find((param) => param.name === 'token')).toMatchObject({
    type: 'text',
    required: true,
    secret: true,
  });
  const redis = all.find((one) => one.name === 'flag/redis')!;
  expect(redis.params[0]).toMatchObject({ name: 'url', type: 'url', required: true });
  expect(redis.params[1]).toMatchObject({ name: 'key', required: false, default: '"maint:read_only"' });
  expect(redis).toMatchObject({ id: 'flag', role: 'wall', when: 'held while: open' });
});
