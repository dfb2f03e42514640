// How to speak: a list that moves on a terminal, plain lines elsewhere, JSON where it was asked for.
export type Mode = 'terminal' | 'plain' | 'json';

export function modeOf(options: {
  json: boolean;
  stderr: { isTTY?: boolean | undefined };
  env: Readonly<Record<string, string | undefined>>;
}): Mode {
  if (options.json) return 'json';
  const { env } = options;
  if (!options.stderr.isTTY || env['CI'] || env['NO_COLOR'] || env['TERM'] === 'dumb') return 'plain';
  return 'terminal';
}
