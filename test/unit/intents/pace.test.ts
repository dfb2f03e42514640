// The rate, on a clock of its own.
import { expect, test } from '@jest/globals';
import { judge, redacted } from '../../../packages/intents/src/judge.ts';
import { Pace, type Time } from '../../../packages/intents/src/pace.ts';

function virtual(late = 0): Time & { at: number } {
  return {
    at: 1_000,
    now() {
      return this.at;
    },
    async sleep(ms) {
      this.at += ms + late;
    },
  };
}

const never = new AbortController().signal;

async function slots(pace: Pace, time: { at: number }, ms: number): Promise<number[]> {
  const end = time.at + ms;
  const at: number[] = [];
  while (await pace.slot(never)) {
    if (time.at > end) return at;
    at.push(time.at);
  }
  return at;
}

test('a steady rate, whether timers are on time or late', async () => {
  for (const late of [0, 1, 7]) {
    const time = virtual(late);
    const at = await slots(new Pace(200, 0, time), time, 10_000);
    expect(at.length).toBeGreaterThan(1_950);
    expect(at.length).toBeLessThanOrEqual(2_021);
  }
});

test('never more than rate × (t + 0.1 s), in any span, also after a long pause of the process', async () => {
  const time = virtual();
  const pace = new Pace(100, 0, time);
  const at = await slots(pace, time, 1_000);
  time.at += 60_000;
  at.push(...(await slots(pace, time, 1_000)));
  for (let first = 0; first < at.length; first++)
    for (const last of [first + 5, first + 20, first + 80]) {
      if (last >= at.length) continue;
      expect(last - first + 1).toBeLessThanOrEqual(100 * ((at[last]! - at[first]!) / 1000 + 0.1) + 1);
    }
});

test('begins at a tenth and reaches all of it at the end of the ramp', async () => {
  const time = virtual();
  const pace = new Pace(100, 10_000, time);
  expect(pace.allowed).toBeCloseTo(10);
  const first = await slots(pace, time, 1_000);
  expect(first.length).toBeLessThan(20);
  await slots(pace, time, 9_000);
  expect(pace.allowed).toBeCloseTo(100);
  pace.slowDown();
  expect(pace.allowed).toBeCloseTo(50);
  for (let n = 0; n < 10; n++) pace.slowDown();
  expect(pace.allowed).toBeCloseTo(10);
});

test('a pause is kept, and not caught up', async () => {
  const time = virtual();
  const pace = new Pace(100, 0, time);
  await slots(pace, time, 1_000);
  pace.pause(5_000);
  const before = time.at;
  await pace.slot(never);
  expect(time.at - before).toBeGreaterThanOrEqual(5_000);
  expect((await slots(pace, time, 100)).length).toBeLessThanOrEqual(11);
});

test('an abort gives no slot', async () => {
  expect(await new Pace(1, 0, virtual()).slot(AbortSignal.abort())).toBe(false);
});

test('a body that says JSON and is none is no reason to fail', () => {
  const headers = { 'content-type': 'application/json' };
  for (const body of ['{', 'null', '7', '[]', '"x"'])
    expect(judge({ status: 409, headers, body }, 'r', [])).toMatchObject({ is: 'dead', status: 409 });
});

test('redacts what looks like a credential, in all the forms that answers quote', () => {
  const secret = 'sk-abc123';
  for (const text of [
    `token=${secret}`,
    `{"password":"${secret}"}`,
    `Authorization: Bearer ${secret}`,
    `api_key: ${secret}, more`,
    `got ${secret} here`,
    'eyJhbGciOi.eyJzdWIi.sk-abc123',
  ])
    expect(redacted(text, [secret])).not.toContain(secret);
  expect(redacted('no such note 7', [])).toBe('no such note 7');
});
