// Records the golden journal of a release: a whole window of the real command line on a small guarded service, with an
// extension and somebody else's edit. Run once per release: node test/support/journals/record.ts > test/support/journals/<version>.json
// Names of this machine are replaced; everything else is as the store has it.
import { execFile } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createGuard, fileSource } from '../../../packages/guard/src/index.ts';
import { openJournal } from '../../../src/store/index.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'maint-record-'));
const at = (name: string) => join(folder, name);
const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

const guard = createGuard({ source: fileSource(at('flag.json'), { pollMs: 50 }) });
await guard.ready();
const server = createServer(
  guard.http((request, response) => {
    response.statusCode = request.method === 'GET' ? 200 : 422;
    response.end('ok');
  }),
);
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

mkdirSync(at('runbooks'));
writeFileSync(at('crontab'), '*/5 * * * * /usr/local/bin/etl.sh\n* * * * * /usr/local/bin/heartbeat.sh\n');
new DatabaseSync(at('app.db')).exec('create table documents (id integer primary key, text text)');
writeFileSync(
  at('runbooks/surfaces.yaml'),
  `version: 1
surfaces:
  - { name: documents, kind: http, match: { methods: [POST], path: "/documents" }, disposition: refuse, canary: { method: POST, path: /documents, body: {} } }
`,
);
writeFileSync(
  at('runbooks/prod.yaml'),
  `version: 1
environment: prod
contact: "#ops-oncall"
soak: 1s
surfaces: ./surfaces.yaml
steps:
  - { uses: flag/file, with: { path: ../flag.json } }
  - { uses: crons/crontab, with: { file: ../crontab, keep: [heartbeat.sh] } }
  - { id: guards, uses: verify/flag, with: { guards: ["${url}"] } }
  - { id: refused, uses: verify/endpoints, with: { url: "${url}" } }
  - { uses: no-writes/sqlite, with: { path: ../app.db, for: 1s } }
`,
);

async function maint(...words: string[]): Promise<void> {
  const done = await promisify(execFile)(process.execPath, [join(root, 'bin/dev.js'), ...words], {
    cwd: folder,
    env: { ...process.env, MAINT_STATE: at('state.db') },
  }).catch((error: { stdout: string; stderr: string }) => error);
  process.stderr.write(done.stderr + done.stdout);
}
await maint('start', '--window', '30m', '--reason', 'reindex documents', '--ticket', 'OPS-412', '--yes');
await maint('extend', '--by', '15m');
appendFileSync(at('crontab'), '0 4 * * * /usr/local/bin/new.sh\n');
writeFileSync(at('crontab'), readFileSync(at('crontab'), 'utf8').replace('*/5 * * * * /usr/local/bin/etl.sh', '*/7 * * * * /usr/local/bin/etl.sh'));
await maint('start', '--window', '30m', '--yes');
await maint('end', '--soak', '1s');

const journal = await openJournal({ state: at('state.db'), env: process.env, write: false, version });
const [window] = await journal.windows();
const events = await journal.read(window!.id);
await journal.end();
server.close();
await guard.close();
const text = JSON.stringify({ maint: version, window: window!.id, events }, null, 1)
  .replaceAll(folder, '/srv/search')
  .replaceAll(url, 'http://127.0.0.1:8080')
  .replaceAll(url.replace('http://', ''), '127.0.0.1:8080')
  .replaceAll(`${userInfo().username}@${hostname()}`, 'ana@lapis')
  .replaceAll(hostname(), 'lapis');
process.stdout.write(`${text}\n`);
rmSync(folder, { recursive: true, force: true });
