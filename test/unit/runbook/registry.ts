// A small registry that shows every kind of field and plugin to the loader; nothing in it is ever run.
import { z } from 'zod';
import {
  type AnyPlugin,
  defineAction,
  defineCheck,
  defineResource,
  type Moment,
  type Role,
} from '../../../src/engine/contract.ts';
import { duration, path, secret, url } from '../../../src/engine/secret.ts';

const State = z.strictObject({ on: z.boolean() });

function resource(name: string, role: Role, Params: z.ZodType, more: Record<string, unknown> = {}): AnyPlugin {
  return defineResource({
    name,
    role,
    summary: `${name} for tests`,
    Params: Params as z.ZodType<Record<string, unknown>>,
    State,
    example: {},
    address: (params) => `${name} ${params.url ?? params.path ?? ''}`,
    compare: 'server',
    observe: async () => new Map(),
    desired: () => null,
    write: async () => [],
    ...more,
  });
}

function check(name: string, on: readonly Moment[], Params: z.ZodType): AnyPlugin {
  return defineCheck({
    name,
    ...(name.startsWith('drain/') && { layer: 'service' as const }),
    on,
    summary: `${name} for tests`,
    Params,
    example: {},
    address: () => name,
    check: async () => ({ outcome: 'pass', summary: '', findings: [], evidence: null }),
  });
}

const hostOf = (address: string) => new URL(address).host;

const plugins: AnyPlugin[] = [
  resource(
    'flag/redis',
    'wall',
    z.strictObject({ url: url(), key: z.string().min(1).default('maint:read_only').meta({ description: 'the key' }) }),
    {
      layer: 'service',
      holders: async () => [],
      address: (params: { url: string; key: string }) => `redis ${hostOf(params.url)} ${params.key}`,
    },
  ),
  resource('flag/file', 'wall', z.strictObject({ path: path('the flag file') }), {
    layer: 'service',
    holders: async () => [],
  }),
  resource('datastore/postgres', 'wall', z.strictObject({ url: url() }), {
    layer: 'store',
    closes: (params: { url: string }) => [`postgres ${hostOf(params.url)}`],
  }),
  resource('datastore/redis', 'wall', z.strictObject({ url: url() }), {
    layer: 'store',
    closes: (params: { url: string }) => [`redis ${hostOf(params.url)}`],
  }),
  resource(
    'notice/statuspage',
    'notice',
    z.strictObject({
      url: url().default('https://api.example.com'),
      page: z.string().min(1).meta({ description: 'the id of the page' }),
      token: secret(z.string().min(1).meta({ description: 'an API token' })),
      components: z.array(z.string().min(1)).optional(),
    }),
  ),
  resource(
    'crons/crontab',
    'work',
    z
      .strictObject({
        user: z.string().optional(),
        file: path('a crontab file').optional(),
        keep: z.array(z.string()).default([]),
        most: z.int().min(1).max(100).optional(),
        quiet: z.boolean().optional(),
      })
      .refine((params) => !(params.user && params.file), 'takes user or file, not both'),
  ),
  check('drain/inflight', ['open'], z.strictObject({})),
  defineAction({
    name: 'cache/http',
    role: 'cache',
    on: ['open', 'reopen'],
    summary: 'cache/http for tests',
    Params: z.strictObject({
      url: url(),
      method: z.enum(['PURGE', 'POST', 'DELETE']).default('PURGE'),
      headers: z.record(z.string(), secret(z.string())).default({}),
      expect: z.array(z.int().min(100).max(599)).default([200]),
      check: z.strictObject({ url: url(), header: z.string() }).optional(),
    }),
    example: {},
    address: (params) => params.url,
    run: async () => [],
  }),
  defineAction({
    name: 'backfill/late',
    role: 'cache',
    on: ['closed'],
    summary: 'backfill/late for tests',
    Params: z.strictObject({}),
    example: {},
    address: () => 'late',
    run: async () => [],
  }),
  {
    ...check(
      'no-writes/postgres',
      ['open', 'reopen'],
      z.strictObject({
        url: url(),
        for: duration().default('11s' as never),
        allow: z.array(z.strictObject({ table: z.string(), because: z.string().min(1) })).default([]),
      }),
    ),
    deadlineMs: 60_000,
  },
  check(
    'soak/http',
    ['before', 'soaking'],
    z.strictObject({
      probes: z.array(z.union([url(), z.strictObject({ url: url(), expect: z.int() })])).min(1),
      max_errors: z.number().min(0).max(1).optional(),
    }),
  ),
  check('soak/quiet', ['soaking'], z.strictObject({})),
  resource(
    'command',
    'work',
    z.strictObject({
      observe: z.array(z.string()).min(1),
      write: z.array(z.string()).min(1),
      role: z.enum(['wall', 'work']).default('work'),
    }),
    { roleOf: (params: { role?: Role }) => params.role, layer: () => 'service' },
  ),
];

export const registry: ReadonlyMap<string, AnyPlugin> = new Map(plugins.map((plugin) => [plugin.name, plugin]));

/** The full checklist, with the plugins of this registry. */
export const FULL = `# a comment
version: 1
name: 60-second checklist
environment: prod
budget: 60s
soak: 5m
on_expiry: hold
contact: "#ops-oncall"
status_page: https://status.example.com
rollback_plan: https://wiki.example.com/maint-rollback
steps:
  - { uses: flag/redis, with: { url: "\${REDIS_URL}", key: maint:read_only } }
  - parallel:
      - { uses: notice/statuspage, with: { page: abc123, token: "\${STATUSPAGE_TOKEN}", components: [api] } }
      - { id: files, uses: crons/crontab, with: { file: ./crons } }
  - { uses: crons/crontab, with: { keep: [heartbeat.sh] }, deadline: 90s, release: after-backfill, pace: 20/min }
  - { uses: cache/http, with: { url: "https://cdn.example.com/purge/banner" } }
  - { uses: no-writes/postgres, with: { url: "\${DATABASE_URL}", allow: [{ table: heartbeat, because: lag probe }] } }
  - { id: reads, uses: soak/http, with: { probes: ["https://api.example.com/search?q=health"] }, on_bad: refreeze }
environments:
  staging: { contact: "#staging", steps: { statuspage: { skip: no public page }, flag: { with: { key: other } } } }
`;
