// The evidence line of status while writes are refused: what the guards say, and what the stores show.
import type { Glanced } from '../engine/verbs/status.ts';

export interface GuardLine {
  guard: string;
  /** whether it refuses writes now */
  readOnly: boolean | null;
  refused: number | null;
  inFlight: number | null;
  queued: number | null;
  /** why there is no answer to read */
  problem: string | null;
}

/** "written 0", or where something was written, and what could not be seen. undefined: nothing watches. */
export function writtenLine(glanced: readonly Glanced[]): string | undefined {
  if (glanced.length === 0) return undefined;
  const odd = glanced.filter(({ outcome }) => outcome !== 'pass');
  if (odd.length === 0) return 'written 0';
  return odd
    .map(({ step, outcome, summary }) => `${outcome === 'unknown' ? 'not seen: ' : ''}${summary} (${step})`)
    .join(' · ');
}

/** "refused 1,204 · queued 12", and who does not answer. undefined: there is nobody to ask. */
export function guardsLine(guards: readonly GuardLine[]): string | undefined {
  if (guards.length === 0) return undefined;
  const sum = (key: 'refused' | 'inFlight' | 'queued') => {
    const known = guards.map((guard) => guard[key]).filter((n) => n !== null);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b, 0);
  };
  const [refused, inFlight, queued] = [sum('refused'), sum('inFlight'), sum('queued')];
  const mute = guards.filter(({ problem }) => problem !== null).map(({ guard }) => guard);
  return [
    ...(refused === undefined ? [] : [`refused ${grouped(refused)}`]),
    ...(queued ? [`queued ${grouped(queued)}`] : []),
    ...(inFlight ? [`still in flight ${grouped(inFlight)}`] : []),
    ...(mute.length > 0 ? [`no answer from ${mute.join(', ')}`] : []),
  ].join(' · ');
}

function grouped(n: number): string {
  return String(n).replace(/\B(?=(?:\d{3})+$)/g, ',');
}
