import { expect, test } from '@jest/globals';
import { nearestNames, nearestText } from '../../../src/runbook/nearest.ts';

const PLUGINS = [
  'cache/http',
  'cache/redis-namespace',
  'crons/crontab',
  'flag/file',
  'flag/redis',
  'no-writes/postgres',
  'no-writes/redis',
  'notice/slack',
  'notice/statuspage',
  'silence/alertmanager',
];
const FLAGS = ['dry-run', 'env', 'json', 'only', 'runbook', 'skip', 'state', 'takeover', 'window', 'yes'];
const COMMANDS = ['end', 'queue', 'queue backfill', 'queue list', 'runbook check', 'scope check', 'start', 'status'];

test.each([
  ['a slip', 'flag/fiel', PLUGINS, ['flag/file']],
  ['a part', 'redis', PLUGINS, ['cache/redis-namespace', 'flag/redis', 'no-writes/redis']],
  ['a slip in a part', 'statuspag', PLUGINS, ['notice/statuspage']],
  ['the beginning of a part', 'alert', PLUGINS, ['silence/alertmanager']],
  ['another backend of a family', 'no-writes/mongodb', PLUGINS, ['no-writes/postgres', 'no-writes/redis']],
  ['the family with a slip', 'notices/slak', PLUGINS, ['notice/slack']],
  ['capitals', 'FLAG/REDIS', PLUGINS, ['flag/redis']],
  ['half of a flag', 'dry', FLAGS, ['dry-run']],
  ['a flag with a slip', 'windw', FLAGS, ['window']],
  ['the second word of a command', 'check', COMMANDS, ['runbook check', 'scope check']],
  ['a command with a slip', 'strat', COMMANDS, ['start']],
  ['half of an environment', 'eu', ['prod-eu', 'prod-us', 'staging'], ['prod-eu']],
  ['nothing near', 'kubernetes', PLUGINS, []],
  ['a short word is near to nothing', 'ab', PLUGINS, []],
  ['nothing', '', PLUGINS, []],
])('%s: %j', (_what, typed, names, near) => {
  expect(nearestNames(typed, names)).toEqual(near);
});

test('five at most', () => {
  expect(nearestNames('job', ['job-1', 'job-2', 'job-3', 'job-4', 'job-5', 'job-6'])).toHaveLength(5);
});

test('as a question asks', () => {
  expect(nearestText('redis', PLUGINS)).toBe('cache/redis-namespace, flag/redis or no-writes/redis');
  expect(nearestText('slakc', PLUGINS)).toBe('notice/slack');
  expect(nearestText('kubernetes', PLUGINS)).toBeUndefined();
});
