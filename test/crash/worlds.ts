// Worlds for the crash sweep: everything that a window touches, made anew for each point, and compared afterwards.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startChat } from '../../examples/services/chat.ts';
import { startStatuspage } from '../../examples/services/statuspage.ts';

export interface CrashWorld {
  folder: string;
  runbook: string;
  env: Record<string, string>;
  /** everything that must come out as it went in, as text */
  essence(): string | Promise<string>;
  /** what must not be there: a second incident, an open one, a violated description */
  faults(): string[] | Promise<string[]>;
  /** what must be in no state */
  secrets: string[];
  stop(): Promise<void>;
}
/** One that can be looked at without waiting. */
export interface LocalWorld extends CrashWorld {
  essence(): string;
  faults(): string[];
}

export const CRONTAB =
  '# jobs of the search service\nMAILTO=ops\n*/5 * * * * TOKEN=hunter2-secret /opt/reindex.sh --all\n0 3 * * * /opt/report.sh\n0 3 * * * /opt/report.sh\n\n* * * * * /opt/heartbeat.sh\n# 1 1 * * * /opt/old.sh\n';

/** Slice 1: a flag, a crontab, a database, all files of this machine. */
export async function files(): Promise<LocalWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-crash-'));
  database(folder);
  writeFileSync(join(folder, 'app.cron'), CRONTAB);
  const runbook = join(folder, 'runbook.yaml');
  writeFileSync(
    runbook,
    `version: 1
environment: crash
contact: "#ops"
soak: 1s
steps:
  - { uses: flag/file, with: { path: flag.json } }
  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }
  - { uses: no-writes/sqlite, with: { path: app.db, for: 1s } }
`,
  );
  return {
    folder,
    runbook,
    env: {},
    secrets: ['hunter2-secret'],
    essence: () => filesEssence(folder),
    faults: () => [],
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** With a status page and a chat: creates that must not be repeated, words that must not be said twice. */
export async function notices(): Promise<LocalWorld> {
  const world = await files();
  const page = await startStatuspage({
    token: 'page-token-1',
    page: 'abc123',
    components: [
      { name: 'api', id: 'api1' },
      { name: 'search', id: 'search1', status: 'degraded_performance' },
    ],
    limit: 1000,
  });
  const chat = await startChat({ token: 'xoxb-chat-token-1', channels: [{ name: 'ops', id: 'C1' }] });
  writeFileSync(
    world.runbook,
    `version: 1
environment: crash
contact: "#ops"
soak: 1s
steps:
  - { uses: flag/file, with: { path: flag.json } }
  - parallel:
      - { uses: notice/statuspage, with: { url: "${page.url}", page: abc123, token: "\${PAGE_TOKEN}", components: [api, search] } }
      - { uses: notice/slack, with: { url: "${chat.url}", channel: ops, token: "\${CHAT_TOKEN}" } }
  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }
  - { uses: no-writes/sqlite, with: { path: app.db, for: 1s } }
`,
  );
  return {
    ...world,
    env: { PAGE_TOKEN: 'page-token-1', CHAT_TOKEN: 'xoxb-chat-token-1' },
    secrets: [...world.secrets, 'page-token-1', 'xoxb-chat-token-1'],
    essence: () =>
      `${world.essence()}\n${JSON.stringify(page.components().map(({ name, status }) => ({ name, status })))}`,
    faults() {
      const faults = [...page.violations(), ...chat.violations()].map(
        (violation) => `violates the description: ${JSON.stringify(violation)}`,
      );
      const incidents = page.incidents();
      if (incidents.length > 1) faults.push(`${incidents.length} incidents`);
      for (const incident of incidents)
        if (incident.status !== 'completed') faults.push(`an incident is left ${incident.status}`);
      const roots = chat
        .messages('ops')
        .filter((message) => message.thread_ts === undefined || message.thread_ts === message.ts);
      if (roots.length > 1) faults.push(`${roots.length} messages`);
      return faults;
    },
    stop: async () => {
      await page.stop();
      await chat.stop();
      await world.stop();
    },
  };
}

/**
 * The full checklist of the fault sweep, with nothing that goes wrong: the flag in Redis, a page, a chat, a silence in
 * Alertmanager, a crontab, a purge and canaries that a guard refuses.
 */
export async function full(): Promise<WorldMaker> {
  const { makeWorld, SECRETS, servers } = await import('../faults/world.ts');
  const all = await servers();
  return {
    missing: all.missing,
    async make() {
      const world = await makeWorld(all);
      const { folder, runbook, env, stop } = world;
      return {
        ...{ folder, runbook, env, stop },
        secrets: Object.values(SECRETS),
        essence: () => world.essence(),
        faults: async () => [...(await world.doubles()), ...(await world.leftovers())],
      };
    },
    stop: all.stop,
  };
}

export interface WorldMaker {
  /** what is not installed here, and that it is left out */
  missing: string[];
  make(): Promise<CrashWorld>;
  stop(): Promise<void>;
}

export const WORLDS = {
  files: () => plain(files),
  notices: () => plain(notices),
  full,
} as const satisfies Record<string, () => Promise<WorldMaker>>;
export type WorldName = keyof typeof WORLDS;

async function plain(make: () => Promise<CrashWorld>): Promise<WorldMaker> {
  return { missing: [], make, stop: async () => undefined };
}

function database(folder: string): void {
  const database = new DatabaseSync(join(folder, 'app.db'));
  database.exec(
    'create table documents (id integer primary key, text text); insert into documents (text) values (1), (2)',
  );
  database.close();
}

function filesEssence(folder: string): string {
  const flag = join(folder, 'flag.json');
  return [
    existsSync(flag) ? readFileSync(flag, 'utf8') : 'no flag',
    readFileSync(join(folder, 'app.cron'), 'latin1'),
  ].join('\n---\n');
}
