// The registry: every plugin by name. A test holds it against the folders; a plugin that does not load stops the program.
import type { AnyPlugin } from '../engine/contract.ts';
import { crontab } from './crons/crontab.ts';
import { flagFile } from './flag/file.ts';
import { flagRedis } from './flag/redis.ts';
import { noWritesSqlite } from './no-writes/sqlite.ts';
import { slack } from './notice/slack.ts';
import { statuspage } from './notice/statuspage.ts';

const PLUGINS: readonly AnyPlugin[] = [crontab, flagFile, flagRedis, noWritesSqlite, slack, statuspage];

export const registry: ReadonlyMap<string, AnyPlugin> = new Map(PLUGINS.map((plugin) => [plugin.name, plugin]));
