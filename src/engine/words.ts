// Times and numbers as people read them: UTC, durations in the two largest units.

/** "02:00:04Z" of RFC 3339 or epoch milliseconds; with the date where it is not `today`. */
export function utc(time: string | number, options: { seconds?: boolean; today?: number } = {}): string {
  const iso = new Date(time).toISOString();
  const clock = options.seconds === false ? `${iso.slice(11, 16)}Z` : `${iso.slice(11, 19)}Z`;
  const other = options.today !== undefined && iso.slice(0, 10) !== new Date(options.today).toISOString().slice(0, 10);
  return other ? `${iso.slice(0, 10)} ${clock}` : clock;
}

/** "02:00–02:30 UTC"; the date where the span is not within one day. */
export function span(from: string, to: string): string {
  const a = new Date(from).toISOString();
  const b = new Date(to).toISOString();
  if (a.slice(0, 10) === b.slice(0, 10)) return `${a.slice(11, 16)}–${b.slice(11, 16)} UTC`;
  return `${a.slice(0, 16).replace('T', ' ')} – ${b.slice(0, 16).replace('T', ' ')} UTC`;
}

/** "1h 30m", "1m 37s", "9.6s", "400ms" */
export function lasting(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 10_000) return `${(Math.round(ms / 100) / 10).toFixed(1).replace('.0', '')}s`;
  const s = Math.round(ms / 1000);
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), 'd'],
    [Math.floor((s % 86_400) / 3600), 'h'],
    [Math.floor((s % 3600) / 60), 'm'],
    [s % 60, 's'],
  ];
  const from = parts.findIndex(([n]) => n > 0);
  return parts
    .slice(from, from + 2)
    .filter(([n], at) => n > 0 || at === 0)
    .map(([n, unit]) => `${String(n).padStart(unit === 's' && from === 2 ? 2 : 1, '0')}${unit}`)
    .join(' ');
}

/** A duration as the command line takes it: "30m", "1h30m". */
export function asOption(ms: number): string {
  return lasting(Math.round(ms / 1000) * 1000)
    .replaceAll(' ', '')
    .replace(/(\D)0(\d)/g, '$1$2');
}

export function count(n: number, one: string, many = `${one}s`): string {
  // not toLocaleString: loading a locale takes as long as a whole look into the journal
  return `${String(n).replace(/\B(?=(?:\d{3})+$)/g, ',')} ${n === 1 ? one : many}`;
}
