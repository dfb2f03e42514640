// What verify found, one line for each step.

import type { VerbResult } from '../engine/verbs/result.ts';
import type { Verified } from '../engine/verbs/verify.ts';
import type { Line } from './next.ts';
import { resultLines } from './result.ts';

const MARKS: Readonly<Record<Verified['outcome'], string>> = {
  pass: '✔',
  'in sync': '✔',
  change: '!',
  drift: '!',
  inconclusive: '?',
  unknown: '?',
  fail: '✘',
};

export function verifiedLines(result: VerbResult & { verified: Verified[] }): Line[] {
  const width = Math.max(4, ...result.verified.map((one) => one.step.length));
  const rows = result.verified.map((one) => {
    const text = [one.summary, ...one.findings].filter((part) => part !== '').join(' · ') || one.outcome;
    return `  ${MARKS[one.outcome]} ${one.step.padEnd(width)}  ${text}`;
  });
  return [...rows, ...resultLines({ ...result, details: [], headline: result.headline.replace(/:$/, '.') })];
}
