// Everything that the demo needs, in a temporary folder and on free ports of this machine: the service, a crontab, and
// local stand-ins for the status page and the chat. Nothing outside of the folder is touched.
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Chat, startChat } from '../services/chat.ts';
import { type Statuspage, startStatuspage } from '../services/statuspage.ts';
import { createIngest, readFeed } from './ingest.ts';
import { type Service, startService } from './service.ts';

export interface World {
  folder: string;
  service: Service;
  statuspage: Statuspage;
  chat: Chat;
  /** what the runbook names in `${…}`, and where `maint` keeps its state; with `folder` as the working directory, enough */
  env: Readonly<Record<string, string>>;
  flag: string;
  crontab: string;
  /** Stops everything and removes the folder. Safe to call twice. */
  stop(): Promise<void>;
}

const HERE = fileURLToPath(new URL('.', import.meta.url));

export async function startWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-demo-'));
  const started: (() => Promise<void>)[] = [];
  async function stop(): Promise<void> {
    for (const stopOne of started.splice(0).reverse()) await stopOne();
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    const statuspageToken = randomBytes(16).toString('hex');
    const chatToken = `xoxb-${randomBytes(16).toString('hex')}`;
    const statuspage = await startStatuspage({
      token: statuspageToken,
      page: 'demo',
      components: ['Search', 'Website'],
      title: 'Example status',
    });
    started.push(statuspage.stop);
    const chat = await startChat({ token: chatToken, channels: ['ops', 'random'] });
    started.push(chat.stop);

    // A folder of its own, because the guard watches the folder of the flag.
    mkdirSync(join(folder, 'flag'));
    cpSync(join(HERE, 'runbooks'), join(folder, 'runbooks'), { recursive: true });
    cpSync(join(HERE, 'surfaces.yaml'), join(folder, 'surfaces.yaml'));
    const flag = join(folder, 'flag', 'read-only.json');
    const database = join(folder, 'search.db');
    const crontab = join(folder, 'crontab');
    writeFileSync(crontab, crontabText(database, flag));
    const service = await startService({
      database,
      flag,
      queue: join(folder, 'queue.db'),
      // a temporary folder may be kept in memory
      survives: 'process',
      links: [
        { name: 'Status', url: statuspage.url },
        { name: 'Chat', url: chat.url },
      ],
    });
    started.push(service.stop);
    const feed = readFeed();
    await createIngest(service.store, feed)(feed.length);

    const env = {
      MAINT_STATE: join(folder, 'state.db'),
      SERVICE_URL: service.url,
      STATUSPAGE_URL: statuspage.url,
      STATUSPAGE_TOKEN: statuspageToken,
      CHAT_URL: chat.url,
      CHAT_TOKEN: chatToken,
    };
    return { folder, service, statuspage, chat, env, flag, crontab, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a machine's crontab looks like after a few years: comments, a job that is off already, one that must go on. */
function crontabText(database: string, flag: string): string {
  return `# search service
MAILTO=""
*/5 * * * *  DATABASE=${database} READ_ONLY_FLAG=${flag} node ${HERE}ingest.ts
10 3 * * *   /opt/search/reindex.sh --full >/dev/null 2>&1
*/15 * * * * /opt/search/expire-notes.sh
# 0 4 * * 0  /opt/search/vacuum.sh
* * * * *    /opt/search/heartbeat.sh
`;
}
