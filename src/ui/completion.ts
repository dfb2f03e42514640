// Shell completion as one static script per shell, made from the commands' own metadata: nothing is started while
// somebody presses Tab, and no plugin of the command line has to be loaded for it at every start.

interface FlagWords {
  name: string;
  char?: string | undefined;
  summary: string;
  /** takes a value */
  value: boolean;
  options: readonly string[];
}
export interface CommandWords {
  /** "runbook check" */
  name: string;
  summary: string;
  flags: FlagWords[];
  /** values of its first argument */
  values: readonly string[];
  /** its first argument is a file */
  file: boolean;
}

interface Loaded {
  id: string;
  summary?: string | undefined;
  description?: string | undefined;
  hidden?: boolean;
  flags: Record<
    string,
    { name: string; char?: unknown; type: string; description?: string; options?: readonly string[] }
  >;
  args: Record<string, { name: string; options?: readonly string[] }>;
}

const FILES = new Set(['runbook', 'world', 'output', 'state']);

export function wordsOf(commands: readonly unknown[], plugins: readonly string[]): CommandWords[] {
  return (commands as Loaded[])
    .filter((command) => !command.hidden)
    .map((command): CommandWords => {
      const [first] = Object.values(command.args);
      return {
        name: command.id.replaceAll(':', ' '),
        summary: oneLine(command.summary ?? command.description ?? ''),
        flags: [...Object.values(command.flags), { name: 'help', type: 'boolean', description: 'how it is used' }].map(
          (flag): FlagWords => ({
            name: flag.name,
            char:
              typeof (flag as { char?: unknown }).char === 'string'
                ? String((flag as { char?: unknown }).char)
                : undefined,
            summary: oneLine(flag.description ?? ''),
            value: flag.type === 'option',
            options: (flag as { options?: readonly string[] }).options ?? [],
          }),
        ),
        values: first?.options ?? (first?.name === 'plugin' ? plugins : []),
        file: first?.name === 'file',
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function oneLine(text: string): string {
  return text.split('\n')[0]!.trim();
}

export function completionScript(
  shell: 'bash' | 'zsh' | 'fish',
  commands: readonly CommandWords[],
  bin: string,
): string {
  if (shell === 'fish') return fish(commands, bin);
  const script = bash(commands, bin);
  // zsh runs bash's completion functions itself.
  return shell === 'bash' ? script : `autoload -U +X bashcompinit && bashcompinit\n${script}`;
}

function bash(commands: readonly CommandWords[], bin: string): string {
  const nested = [...new Set(commands.filter((one) => one.name.includes(' ')).map((one) => one.name.split(' ')[0]!))];
  const tops = [...new Set(commands.map((one) => one.name.split(' ')[0]!))].sort();
  const cases = commands.map((one) => {
    const flags = one.flags.map((flag) => `--${flag.name}`).join(' ');
    const valued = one.flags
      .filter((flag) => flag.value)
      .map((flag) => {
        const names = [`--${flag.name}`, ...(flag.char ? [`-${flag.char}`] : [])].join('|');
        const reply = FILES.has(flag.name) ? '_files=1' : `words="${flag.options.join(' ')}"`;
        return `      ${names}) ${reply}; valued=1 ;;`;
      });
    const rest = one.file ? '_files=1' : `words="${one.values.join(' ')}"`;
    return [
      `    "${one.name}")`,
      ...(valued.length === 0 ? [] : ['      case "$previous" in', ...valued.map((line) => `  ${line}`), '      esac']),
      `      if [[ -z $valued ]]; then`,
      `        if [[ $current == -* ]]; then words="${flags}"; else ${rest}; fi`,
      '      fi ;;',
    ].join('\n');
  });
  return `# completion of ${bin} for bash (and for zsh, through bashcompinit)
_${bin}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="" command="" words="" valued="" _files="" at word
  ((COMP_CWORD > 0)) && previous="\${COMP_WORDS[COMP_CWORD-1]}"
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="\${COMP_WORDS[at]}"
    [[ $word == -* ]] && break
    case "$command" in
      "") command="$word" ;;
      ${nested.join('|') || '-'}) command="$command $word" ;;
    esac
  done
  COMPREPLY=()
  case "$command" in
    "") words="${tops.join(' ')} help --help --version" ;;
${nested
  .map((topic) => {
    const inside = commands.filter((one) => one.name.startsWith(`${topic} `)).map((one) => one.name.split(' ')[1]);
    return `    ${topic}) words="${inside.join(' ')}" ;;`;
  })
  .join('\n')}
${cases.join('\n')}
  esac
  if [[ -n $_files ]]; then
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current")
  else
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$current")
  fi
}
complete -o filenames -F _${bin} ${bin}
`;
}

function fish(commands: readonly CommandWords[], bin: string): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = [`# completion of ${bin} for fish`, `complete -c ${bin} -f`];
  const tops = new Map<string, string>();
  for (const one of commands) {
    const [top, sub] = one.name.split(' ') as [string, string?];
    if (!tops.has(top)) tops.set(top, sub ? `${top} …` : one.summary);
  }
  for (const [top, summary] of tops)
    lines.push(`complete -c ${bin} -n __fish_use_subcommand -a ${top} -d ${quote(summary)}`);
  for (const one of commands) {
    const [top, sub] = one.name.split(' ') as [string, string?];
    const seen = `__fish_seen_subcommand_from ${top}`;
    if (sub)
      lines.push(
        `complete -c ${bin} -n ${quote(`${seen}; and not __fish_seen_subcommand_from ${sub}`)} -a ${sub} -d ${quote(one.summary)}`,
      );
    const here = quote(sub ? `${seen}; and __fish_seen_subcommand_from ${sub}` : seen);
    for (const flag of one.flags) {
      const short = flag.char ? ` -s ${flag.char}` : '';
      const value = !flag.value
        ? ''
        : FILES.has(flag.name)
          ? ' -r -F'
          : flag.options.length > 0
            ? ` -x -a ${quote(flag.options.join(' '))}`
            : ' -x';
      lines.push(`complete -c ${bin} -n ${here} -l ${flag.name}${short}${value} -d ${quote(flag.summary)}`);
    }
    if (one.file) lines.push(`complete -c ${bin} -n ${here} -F`);
    else if (one.values.length > 0) lines.push(`complete -c ${bin} -n ${here} -a ${quote(one.values.join(' '))}`);
  }
  return `${lines.join('\n')}\n`;
}
