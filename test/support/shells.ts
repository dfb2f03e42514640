// The completion scripts in the shells that they are for, as somebody who presses Tab has them.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 30_000;

/** What fish offers for a line; the last word is being typed. */
export async function fishOffers(script: string, line: string, cwd: string): Promise<string[]> {
  // its own settings and history are not this test's business
  const env = { ...process.env, HOME: cwd, XDG_CONFIG_HOME: join(cwd, 'fish'), XDG_DATA_HOME: join(cwd, 'fish') };
  const words = ['--no-config', '-c', 'source $argv[1]; complete --do-complete $argv[2]', script, line];
  const { stdout } = await run('fish', words, { cwd, env, timeout: TIMEOUT_MS });
  return stdout
    .split('\n')
    .map((offer) => offer.split('\t')[0]!)
    .filter((offer) => offer !== '');
}

/** Each line as a zsh leaves it after Tab, on a terminal of its own. Ctrl-X Ctrl-P writes the line down and empties it. */
export async function zshCompletes(script: string, lines: readonly string[], cwd: string): Promise<string[]> {
  writeFileSync(
    join(cwd, '.zshrc'),
    `autoload -Uz compinit && compinit -u -D
source ${script}
put() { print -r -- "<$BUFFER>" >> $PWD/lines; BUFFER= }
zle -N put
bindkey '^X^P' put
setopt no_beep
`,
  );
  writeFileSync(
    join(cwd, 'type.zsh'),
    `zmodload zsh/zpty
zpty shell zsh -i
for line in "$@"; do zpty -n -w shell "$line"$'\\t'$'\\x18\\x10'; done
zpty -w shell exit
while zpty -r shell seen; do :; done
while zpty -t shell; do :; done
print -r -- "$(<lines)"
`,
  );
  const { stdout } = await run('zsh', ['-f', 'type.zsh', ...lines], {
    cwd,
    env: { ...process.env, ZDOTDIR: cwd, HOME: cwd, TERM: 'xterm' },
    timeout: TIMEOUT_MS,
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.slice(1, -1).trimEnd());
}
