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

/** Somebody looks at it, and it can move and have colours. */
export function isScreen(stream: Speaking, env: Env): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = env;
  const colourless = Boolean(NO_COLOR) || FORCE_COLOR === '0' || FORCE_COLOR === 'false' || TERM === 'dumb';
  return stream.isTTY === true && !isCi(env) && !colourless;
}

/** A CI system may give its jobs a terminal, and nobody sits at it: a question would wait until the job times out. */
export function canAsk(at: { stdin: Speaking; stderr: Speaking; env: Env }): boolean {
  return at.stdin.isTTY === true && at.stderr.isTTY === true && !isCi(at.env);
}

/** `CI=false` is what some tools set where there is none. */
function isCi({ CI }: Env): boolean {
  return CI !== undefined && CI !== '' && CI !== 'false' && CI !== '0';
}
