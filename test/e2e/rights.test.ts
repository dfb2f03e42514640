// What a rehearsal says of permissions where the server does not tell them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { maint } from '../support/cli.ts';
import { describeWith, startRedis } from '../support/servers.ts';

describeWith('redis', 'a rehearsal', () => {
  test('does not call rights ok that it could not ask for', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'maint-rights-'));
    const server = await startRedis();
    const admin = new Redis(server.port, '127.0.0.1');
    try {
      const rights = ['+get', '+eval', '+set', '+del', '+publish', '~maint:read_only', '&maint:read_only'];
      await admin.call('ACL', 'SETUSER', 'narrow', 'on', '>narrowpass', '-@all', ...rights);
      const step = `{ uses: flag/redis, with: { url: "redis://narrow:\${PASSWORD}@127.0.0.1:${server.port}" } }`;
      writeFileSync(
        join(folder, 'runbook.yaml'),
        `version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n  - ${step}\n`,
      );
      const at = { cwd: folder, env: { PASSWORD: 'narrowpass', MAINT_STATE: join(folder, 'state.db') } };
      const told = await maint(['rehearse', '--runbook', 'runbook.yaml'], at);
      expect([told.code, told.output]).toEqual([66, expect.stringContaining('permissions not asked of flag')]);
      expect(told.output).toMatch(/✘ flag +its rights could not be asked: .*NOPERM.*acl\|whoami/i);
      const start = await maint(['start', '--runbook', 'runbook.yaml', '--window', '30m', '--yes'], at);
      expect([start.code, start.output]).toEqual([
        66,
        expect.stringMatching(/E_UNUSABLE[\s\S]*rights could not be asked/),
      ]);
      expect(await admin.get('maint:read_only')).toBeNull();
      const json = await maint(['rehearse', '--runbook', 'runbook.yaml', '--json'], at);
      expect(json.output).toMatch(/"rights": ?"not asked"/);
    } finally {
      admin.disconnect();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
