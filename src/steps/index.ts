// The registry: every plugin by name. A test holds it against the folders; a plugin that does not load stops the program.
import type { AnyPlugin } from '../engine/contract.ts';
import { backfill } from './backfill/backfill.ts';
import { cacheHttp } from './cache/http.ts';
import { redisNamespace } from './cache/redis-namespace.ts';
import { command } from './command/command.ts';
import { crontab } from './crons/crontab.ts';
import { drainInflight } from './drain/inflight.ts';
import { flagFile } from './flag/file.ts';
import { flagRedis } from './flag/redis.ts';
import { noWritesPostgres } from './no-writes/postgres.ts';
import { noWritesRedis } from './no-writes/redis.ts';
import { noWritesSqlite } from './no-writes/sqlite.ts';
import { slack } from './notice/slack.ts';
import { statuspage } from './notice/statuspage.ts';
import { alertmanager } from './silence/alertmanager.ts';
import { soakHttp } from './soak/http.ts';
import { verifyEndpoints } from './verify/endpoints.ts';
import { verifyFlag } from './verify/flag.ts';

const PLUGINS: readonly AnyPlugin[] = [
  backfill,
  cacheHttp,
  redisNamespace,
  command,
  crontab,
  drainInflight,
  flagFile,
  flagRedis,
  noWritesPostgres,
  noWritesRedis,
  noWritesSqlite,
  slack,
  statuspage,
  alertmanager,
  soakHttp,
  verifyEndpoints,
  verifyFlag,
];

export const registry: ReadonlyMap<string, AnyPlugin> = new Map(PLUGINS.map((plugin) => [plugin.name, plugin]));
