// Durations as people write them. Apart from the schemas: the command line needs this, and not the schemas' library.
export const DURATION = /^(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$/;
export const MAX_MS = 30 * 86_400_000;

/** Parses a duration; undefined if it is none ("0", "-5m", "5", "1e9h"). */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  const ms = milliseconds(text);
  return ms > 0 && ms <= MAX_MS ? ms : undefined;
}

export function milliseconds(text: string): number {
  const [, d, h, m, s] = DURATION.exec(text) ?? [];
  return ((Number(d ?? 0) * 24 + Number(h ?? 0)) * 60 + Number(m ?? 0)) * 60_000 + Number(s ?? 0) * 1000;
}
