import * as Flags from '@oclif/core/flags';
import { MaintError } from '../errors/catalogue.ts';
import { durationFlag, envFlag, leaseFlags, MaintCommand, runbookFlags, stateFlag } from '../ui/command.ts';

export class End extends MaintCommand {
  static override summary = 'Bring it back: open the walls, soak, then everything else as it was.';
  static override examples = [
    '<%= config.bin %> end --soak 5m',
    '<%= config.bin %> end --skip statuspage',
    '<%= config.bin %> end --leave crons/etl-1f3a --reason "the host is gone"',
  ];
  static override flags = {
    ...runbookFlags,
    ...envFlag,
    soak: durationFlag({ description: "watch reads this long before the window is closed (default: the runbook's)" })(),
    skip: Flags.string({
      description: 'leave these steps as they are for now; the window stays open for them',
      multiple: true,
      delimiter: ',',
    }),
    leave: Flags.string({
      description: 'STEP or STEP/ID that will never come back: no longer ours',
      dependsOn: ['reason'],
    }),
    holder: Flags.string({
      description: 'remove the holder of a window that nobody knows any more',
      dependsOn: ['reason'],
      exclusive: ['leave'],
    }),
    reason: Flags.string({ description: 'why, with --leave and --holder' }),
    'dry-run': Flags.boolean({ description: 'plan only; nothing is written' }),
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(End);
    const app = await this.app(flags);
    const { end, leave, nothingToEnd, removeHolder } = await import('../engine/verbs/end.ts');
    const lease = this.leaseOf(app, flags);
    const choice = { runbook: flags.runbook, environment: flags.env, only: [], skip: [] };
    if (flags.holder) {
      this.prepared = await app.prepare(choice);
      return await this.finish(
        await removeHolder(await app.host(true), this.prepared, flags.holder, flags.reason ?? '', lease),
      );
    }
    const live = await app.live(flags.env);
    if (!live) {
      this.prepared = await app.prepare(choice).catch((error: unknown) => {
        if (error instanceof MaintError && (error.code === 'E_NO_RUNBOOK' || error.code === 'E_SECRETS_MISSING'))
          return undefined;
        throw error;
      });
      return await this.finish(
        await nothingToEnd(
          await app.host(false),
          'end',
          this.prepared?.environment ?? flags.env ?? 'this state',
          this.prepared,
        ),
      );
    }
    const skip = flags.skip ?? [];
    const { prepared, state } = await app.prepareWindow(live, {
      ...{ skip, lead: `this laptop cannot end ${live.id}` },
      withoutThem: (steps) => `maint end --skip ${[...skip, ...steps].join(',')}`,
    });
    this.prepared = prepared;
    const host = await app.host(!flags['dry-run']);
    if (flags.leave)
      return await this.finish(await leave(host, prepared, state, flags.leave, flags.reason ?? '', lease));
    await this.finish(
      await end(host, prepared, state, { soakMs: flags.soak, skip, dryRun: flags['dry-run'], ...lease }),
    );
  }
}
