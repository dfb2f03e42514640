import * as Args from '@oclif/core/args';
import { MaintCommand, stateFlag } from '../ui/command.ts';

export class Completion extends MaintCommand {
  static override summary = 'A script that completes commands, flags and their values in your shell.';
  static override examples = [
    'eval "$(<%= config.bin %> completion bash)"    in ~/.bashrc',
    'eval "$(<%= config.bin %> completion zsh)"     in ~/.zshrc, after compinit',
    '<%= config.bin %> completion fish > ~/.config/fish/completions/<%= config.bin %>.fish',
  ];
  static override args = {
    shell: Args.string({ description: 'the shell', options: ['bash', 'zsh', 'fish'], required: true }),
  };
  static override flags = { json: stateFlag.json };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Completion);
    const app = await this.app(flags);
    const { completionScript, wordsOf } = await import('../ui/completion.ts');
    const plugins = [...(await app.registry()).keys()];
    const { shell } = args;
    const script = completionScript(shell as 'bash', wordsOf(this.config.commands, plugins), this.config.bin);
    await this.print(this.wantsJson ? { ok: true, exit: 0, shell, script } : [script.trimEnd()], 0, { whole: true });
  }
}
