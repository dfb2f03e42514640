// The frame of the two files: everything but the plugins' own params. The JSON Schema that editors use is made from it.
import { z } from 'zod';
import { duration } from '../engine/secret.ts';

/** A step's id: what --only, --skip and `environments:` name. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$/;
const NAME_WORDS = 'letters, digits, - _ and ., at most 60, beginning with a letter or digit';

const name = (description: string) => z.string().regex(NAME, NAME_WORDS).meta({ description });
const words = (description: string) => z.string().trim().min(1).max(2000).meta({ description });
const version = z.literal(1).meta({ description: 'the version of this file’s format: 1' });
const contact = words('who to ask, in every notice and in the flag: a channel, an address, a person');
const statusPage = z
  .string()
  .regex(/^https?:\/\/[^\s/]|\$\{/, 'an address like https://status.example.com, or "${VAR}"')
  .meta({ description: 'the public status page: told to whoever is refused' });
const rollbackPlan = words('where it is written what to do when the maintenance goes wrong');
const overdueNotice = words(
  'what the notices add once the window takes longer than planned: who decides, when the next word comes',
);

export const StepFrame = z.strictObject({
  id: name('how the step is named; default: the family of its plugin, for notices the backend').optional(),
  uses: z.string().min(1).meta({ description: 'the plugin: family/backend' }),
  with: z.record(z.string(), z.unknown()).meta({ description: 'the plugin’s params' }).optional(),
  deadline: duration()
    .meta({
      description: 'how long the step may take, each direction by itself; default 30s (no-writes: 60s, backfill: 15m)',
    })
    .optional(),
  release: z
    .enum(['reopen', 'after-soak', 'after-backfill'])
    .meta({ description: 'when the end gives the thing back; default: by the role of the plugin' })
    .optional(),
  on_failure: z
    .enum(['undo', 'hold', 'continue'])
    .meta({ description: 'what a failure at start means; default: by the role of the plugin' })
    .optional(),
  on_bad: z
    .enum(['hold', 'refreeze', 'continue'])
    .meta({ description: 'checks of the soak: what a bad soak means; default hold' })
    .optional(),
  pace: z
    .string()
    .regex(/^[1-9]\d{0,5}\/min$/, 'changes per minute, like 20/min')
    .meta({ description: 'how fast the end gives things back, like 20/min' })
    .optional(),
  skip: words('the reason for which this step is not done').optional(),
});
export type StepFrame = z.infer<typeof StepFrame>;

export const ParallelFrame = z.strictObject({
  parallel: z.array(z.unknown()).min(1).meta({ description: 'steps that go at once; one level' }),
});

export const StepOverride = z.strictObject({
  with: z
    .record(z.string(), z.unknown())
    .meta({ description: 'each key takes the place of the step’s own key, whole' })
    .optional(),
  skip: words('the reason for which this step is not done in this environment').optional(),
});

export const EnvironmentFrame = z.strictObject({
  contact: contact.optional(),
  status_page: statusPage.optional(),
  rollback_plan: rollbackPlan.optional(),
  overdue_notice: overdueNotice.optional(),
  steps: z.record(z.string(), StepOverride).meta({ description: 'by step id' }).optional(),
});

export const RunbookFrame = z.strictObject({
  version,
  name: words('a name for people; default: the name of the file').optional(),
  environment: name('what becomes read-only; typed at the prompt before the first write'),
  budget: duration()
    .meta({ description: 'how long the start should take at most; a countdown; default 60s' })
    .optional(),
  soak: duration()
    .meta({ description: 'how long reads and writes are watched before the window is closed; default 5m' })
    .optional(),
  order: z
    .enum(['roles', 'strict'])
    .meta({
      description:
        'roles (the default): after the walls, steps that change things on different servers go side by side; strict: one after the other, as the list has them',
    })
    .optional(),
  on_expiry: z
    .enum(['hold', 'open'])
    .meta({ description: 'what the guard does past the end of the window when nobody ended it; default hold' })
    .optional(),
  contact,
  status_page: statusPage.optional(),
  rollback_plan: rollbackPlan.optional(),
  overdue_notice: overdueNotice.optional(),
  surfaces: z
    .string()
    .min(1)
    .meta({ description: 'the file that names every way to write; relative to this file' })
    .optional(),
  steps: z.array(z.unknown()).min(1).meta({ description: 'in this order at start; the order of the end is derived' }),
  environments: z
    .record(z.string(), z.unknown())
    .meta({ description: 'what differs elsewhere, by environment' })
    .optional(),
});

const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'HEAD', 'OPTIONS'] as const;
const method = z.enum(METHODS);
const pattern = z.string().regex(/^\/\S*$/, 'a path that begins with /');
/** RFC 9110 §5.6.2 */
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const header = z.string().regex(HEADER, 'the name of a header');

const requestPart = (description: string) =>
  z
    .strictObject({
      param: z
        .string()
        .regex(/^[A-Za-z_]\w*$/, 'the name of a parameter of the path, without its colon')
        .optional(),
      header: header.optional(),
    })
    .meta({ description });

export const SurfaceFrame = z.strictObject({
  name: name('how the surface is named in reports'),
  kind: z.enum(['http', 'graphql', 'vector', 'kv', 'tool', 'job']).meta({
    description:
      'http, graphql: matched by the request; tool, job: by the name of the call that the service wraps; vector, kv: by either',
  }),
  match: z.strictObject({
    methods: z.array(method).min(1).meta({ description: 'HTTP methods in capitals' }).optional(),
    path: pattern.meta({ description: 'whole segments, :param, :param?, a final *' }).optional(),
    operations: z
      .array(
        z
          .string()
          .regex(
            /^(mutation|query|subscription)(:[_A-Za-z]\w*)?$/,
            'mutation, query or subscription, each also with :Name',
          ),
      )
      .min(1)
      .meta({ description: 'graphql: the operations that write; default [mutation]' })
      .optional(),
    names: z
      .array(z.string().regex(/^[^\s*]+\*?$|^\*$/, 'a name, or the beginning of names with a final *'))
      .min(1)
      .meta({ description: 'tool, job, vector, kv: the names of wrapped calls; a final * stands for any rest' })
      .optional(),
  }),
  disposition: z
    .enum(['refuse', 'buffer', 'drop', 'pass'])
    .meta({
      description:
        'what happens while the window is open. buffer: stored, answered 202, applied after the window; drop: refused and never queued; pass: it only reads, like a search by POST, or must work all the same. Default refuse',
    })
    .optional(),
  status: z
    .union([z.literal(503), z.literal(423), z.literal(204)])
    .meta({
      description: 'what a refused write is answered with; default 503. 204 only for drop: nobody needs to know',
    })
    .optional(),
  order: requestPart('buffer: writes that share this value are applied in their order; default: no order').optional(),
  tenant: requestPart('buffer: whose Idempotency-Key it is; default: one for all').optional(),
  key: z
    .enum(['header', 'content'])
    .meta({
      description:
        'buffer: where no Idempotency-Key came. header (default): the write is answered 400; content: a key is made from the request',
    })
    .optional(),
  credential: z
    .enum(['service', 'user'])
    .meta({ description: 'buffer: with whose credential it is applied later; the user’s own is never stored' })
    .optional(),
  keep_headers: z
    .array(header)
    .min(1)
    .meta({ description: 'buffer: headers that are stored beside those that say what the body is; no credentials' })
    .optional(),
  not_credentials: z
    .array(z.string().min(1))
    .min(1)
    .meta({
      description: 'buffer: names of headers, parameters and of queries that look like a credential and are not',
    })
    .optional(),
  max_bytes: z
    .int()
    .min(1)
    .max(64 * 1024 * 1024)
    .meta({ description: 'buffer: the largest body, in bytes; default 1048576' })
    .optional(),
  owner: words('who answers for it').optional(),
  purpose: z
    .enum(['login', 'logout', 'token_refresh', 'password_reset'])
    .meta({ description: 'what sessions need: runbook check says what a window does to them' })
    .optional(),
  canary: z
    .strictObject({
      method,
      path: pattern,
      body: z.unknown().optional(),
      headers: z.record(z.string(), z.string()).optional(),
    })
    .meta({
      description: 'a request that must be refused; without a guard it must fail validation, so that it never writes',
    })
    .optional(),
});

export type SurfaceFrame = z.infer<typeof SurfaceFrame>;

export const SurfacesFrame = z.strictObject({
  version,
  shortest_token_life: duration()
    .meta({ description: 'the shortest life of a token: a longer window locks readers out where it is not renewed' })
    .optional(),
  surfaces: z.array(z.unknown()).min(1).meta({ description: 'every way to write' }),
});
export type SurfacesFrame = z.infer<typeof SurfacesFrame>;

export function isName(text: string): boolean {
  return NAME.test(text);
}
export { NAME_WORDS };
