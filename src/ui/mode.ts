// How to speak: a list that moves on a terminal, plain lines elsewhere, JSON where it was asked for.
export type Mode = 'terminal' | 'plain' | 'json';

interface Speaking {
  isTTY?: boolean | undefined;
}
type Env = Readonly<Record<string, string | undefined>>;

export function modeOf(options: { json: boolean; stderr: Speaking; env: Env }): Mode {
  if (options.json) return 'json';
  return isScreen(options.stderr, options.env) ? 'terminal' : 'plain';
}

/** Somebody looks at it, and it can move and have colours. `CI=false` is what some tools set where there is none. */
export function isScreen(stream: Speaking, env: Env): boolean {
  const { CI, NO_COLOR, TERM } = env;
  const ci = CI !== undefined && CI !== '' && CI !== 'false' && CI !== '0';
  return stream.isTTY === true && !ci && !NO_COLOR && TERM !== 'dumb';
}
