import * as Flags from '@oclif/core/flags';
import { scopeSeen } from '../../app/guards.ts';
import { MaintCommand, runbookFlags, stateFlag } from '../../ui/command.ts';

export class ScopeCheck extends MaintCommand {
  static override summary =
    'What the guards saw written that no surface names, what is named and never seen, what the canaries got.';
  static override description =
    'Looks only. Exit 68: something was written that no surface names, or a canary has written. The guards are those of the verify/flag and drain/inflight steps, unless --guard names others; they count since they were started.';
  static override examples = [
    '<%= config.bin %> scope check',
    '<%= config.bin %> scope check --guard https://api.example.com',
  ];
  static override flags = {
    ...runbookFlags,
    guard: Flags.string({
      description: 'the base address of a guarded service, in place of those of the runbook',
      multiple: true,
      helpValue: 'URL',
    }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ScopeCheck);
    const app = await this.app(flags);
    const { scopeExit, scopeJson, scopeLines } = await import('../../ui/scope.ts');
    const scope = await scopeSeen(
      app,
      { runbook: flags.runbook, environment: flags.env, only: [], skip: [] },
      flags.guard,
    );
    await this.print(this.wantsJson ? scopeJson(scope) : scopeLines(scope), scopeExit(scope));
  }
}
