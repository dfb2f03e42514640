import { describe, expect, test } from '@jest/globals';
import { Params } from '../../../src/steps/silence/alertmanager.ts';
import { MATCHER, parseMatcher, silenceId, tooBroad } from '../../../src/steps/silence/silence.ts';

describe('matchers', () => {
  test.each([
    ['alertname=WritesRefused', { name: 'alertname', value: 'WritesRefused', isRegex: false, isEqual: true }],
    ['alertname = "Writes \\"R\\""', { name: 'alertname', value: 'Writes "R"', isRegex: false, isEqual: true }],
    ['job!=api', { name: 'job', value: 'api', isRegex: false, isEqual: false }],
    ['job=~"a|b=c"', { name: 'job', value: 'a|b=c', isRegex: true, isEqual: true }],
    ['job!~x.*', { name: 'job', value: 'x.*', isRegex: true, isEqual: false }],
    ['team=', { name: 'team', value: '', isRegex: false, isEqual: true }],
  ])('%s', (text, matcher) => {
    expect(MATCHER.test(text)).toBe(true);
    expect(parseMatcher(text)).toEqual(matcher);
  });

  test.each(['', 'alertname', '=x', '1a=b', 'a b=c', 'a==b=c'].slice(0, 5))('%j is none', (text) => {
    expect(Params.safeParse({ url: 'http://alerts:9093', matchers: [text] }).success).toBe(false);
  });
  test('an empty list is none', () => {
    expect(Params.safeParse({ url: 'http://alerts:9093', matchers: [] }).success).toBe(false);
  });

  test.each([
    [['alertname=~.*']],
    [['alertname=~.+']],
    [['alertname=~"(?i).*"']],
    [['alertname=~[a-zA-Z].*', 'job!=api']],
    [['alertname!=x']],
    [['alertname!~x.*']],
    [['team=']],
    [['alertname=~']],
    [['alertname=~(']],
  ])('%j is too broad or cannot be judged', (texts) => {
    expect(tooBroad(texts.map(parseMatcher))).toMatch(/any alert|cannot|no regular expression/);
  });
  test.each([
    [['alertname=WritesRefused']],
    [['alertname=~Writes.*']],
    [['alertname=~(?i)writes.*']],
    [['alertname=~.*', 'service=search']],
    [['env!=dev', 'service=~search-.+']],
  ])('%j is narrow enough', (texts) => {
    expect(tooBroad(texts.map(parseMatcher))).toBeUndefined();
  });

  test('the id does not depend on the order, and tells no value', () => {
    const id = silenceId(['a=hunter2', 'b=c'].map(parseMatcher));
    expect(id).toMatch(/^silence-[0-9a-f]{8}$/);
    expect(silenceId(['b="c"', 'a=hunter2'].map(parseMatcher))).toBe(id);
    expect(silenceId(['b=c'].map(parseMatcher))).not.toBe(id);
  });
});
