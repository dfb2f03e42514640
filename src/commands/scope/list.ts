import { MaintCommand, runbookFlags, stateFlag } from '../../ui/command.ts';

export class ScopeList extends MaintCommand {
  static override summary = 'Every way to write that the surfaces name, and what becomes of it during a window.';
  static override examples = ['<%= config.bin %> scope list', '<%= config.bin %> scope list --json'];
  static override flags = { ...runbookFlags, ...stateFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ScopeList);
    const app = await this.app(flags);
    const [{ listJson, listLines }, { listedSurface }] = await Promise.all([
      import('../../ui/scope.ts'),
      import('../../report/scope.ts'),
    ]);
    const runbook = await app.runbook({ runbook: flags.runbook, environment: flags.env, only: [], skip: [] });
    const { surfacesPath, surfaces, shortestTokenLifeMs, path } = runbook;
    const listed = {
      path: surfacesPath === undefined ? undefined : app.shownPath(surfacesPath),
      runbook: app.shownPath(path),
      surfaces: surfaces.map(listedSurface),
      shortestTokenLifeMs,
    };
    await this.print(this.wantsJson ? listJson(listed) : listLines(listed), 0);
  }
}
