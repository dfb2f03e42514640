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

const FILES = new Set(['runbook', 'world', 'output', 'state', 'queue']);

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
  return words(commands, bin) + (shell === 'bash' ? bash(bin) : zsh(bin));
}

/** The function of bash and zsh that finds out what fits: `found`, or `files` where files do. */
function words(commands: readonly CommandWords[], bin: string): string {
  const nested = [...new Set(commands.filter((one) => one.name.includes(' ')).map((one) => one.name.split(' ')[0]!))];
  const tops = [...new Set(commands.map((one) => one.name.split(' ')[0]!))].sort();
  const cases = commands.map((one) => {
    const flags = one.flags.map((flag) => `--${flag.name}`).join(' ');
    const valued = one.flags
      .filter((flag) => flag.value)
      .map((flag) => {
        const names = [`--${flag.name}`, ...(flag.char ? [`-${flag.char}`] : [])].join('|');
        const reply = FILES.has(flag.name) ? 'files=1' : `found="${flag.options.join(' ')}"`;
        return `      ${names}) ${reply}; valued=1 ;;`;
      });
    const rest = one.file ? 'files=1' : `found="${one.values.join(' ')}"`;
    return [
      `    "${one.name}")`,
      ...(valued.length === 0 ? [] : ['      case "$previous" in', ...valued.map((line) => `  ${line}`), '      esac']),
      `      if [[ -z $valued ]]; then`,
      `        if [[ $current == -* ]]; then found="${flags}"; else ${rest}; fi`,
      '      fi ;;',
    ].join('\n');
  });
  return `# completion of ${bin}
_${bin}_words() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="" command="" valued="" at word
  ((COMP_CWORD > 0)) && previous="\${COMP_WORDS[COMP_CWORD-1]}"
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="\${COMP_WORDS[at]}"
    [[ $word == -* ]] && break
    case "$command" in
      "") command="$word" ;;
      ${nested.join('|') || '-'}) command="$command $word" ;;
    esac
  done
  case "$command" in
    "") found="${tops.join(' ')} help --help --version" ;;
${nested
  .map((topic) => {
    const inside = commands.filter((one) => one.name.startsWith(`${topic} `)).map((one) => one.name.split(' ')[1]);
    return `    ${topic}) found="${inside.join(' ')}" ;;`;
  })
  .join('\n')}
${cases.join('\n')}
  esac
}
`;
}

function bash(bin: string): string {
  return `_${bin}() {
  local found="" files="" one
  _${bin}_words
  COMPREPLY=()
  if [[ -n $files ]]; then
    # a folder's name goes on, and a space in a name is escaped; words are no files, whatever is called like them here
    compopt -o filenames 2>/dev/null || :
    while IFS= read -r one; do COMPREPLY+=("$one"); done < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
  else
    while IFS= read -r one; do COMPREPLY+=("$one"); done < <(compgen -W "$found" -- "\${COMP_WORDS[COMP_CWORD]}")
  fi
}
complete -F _${bin} ${bin}
`;
}

function zsh(bin: string): string {
  return `_${bin}() {
  local -a COMP_WORDS
  local COMP_CWORD=$((CURRENT - 1)) found="" files=""
  COMP_WORDS=("\${words[@]}")
  # arrays from 0, as in bash
  emulate ksh -c _${bin}_words
  if [[ -n $files ]]; then _files; else compadd -- \${=found}; fi
}
compdef _${bin} ${bin}
`;
}

function fish(commands: readonly CommandWords[], bin: string): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = [`# completion of ${bin} for fish`, `complete -c ${bin} -f`];
  const tops = new Map<string, string>();
  const topics = new Set(commands.flatMap((one) => (one.name.includes(' ') ? [one.name.split(' ')[0]!] : [])));
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
    // `status` is a word of `queue status`, too
    const here = quote(
      sub
        ? `${seen}; and __fish_seen_subcommand_from ${sub}`
        : `${seen}; and not __fish_seen_subcommand_from ${[...topics].join(' ')}`,
    );
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
