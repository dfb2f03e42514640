// The shapes that docs/json.md documents, one per command. Strict where this project alone decides what is there.
import { z } from 'zod';

const time = z.iso.datetime();
const ms = z.number().nonnegative();
const texts = z.array(z.string());
const next = z.array(
  z.strictObject({ command: z.string(), argv: z.array(z.string()).optional(), why: z.string().optional() }),
);
const state = z.record(z.string(), z.unknown()).nullable();

export const ErrorShape = z.strictObject({
  ok: z.literal(false),
  exit: z.number(),
  code: z.string().regex(/^E_[A-Z_]+$/),
  headline: z.string().min(1),
  details: texts,
  next,
  problems: z
    .array(
      z.strictObject({
        file: z.string(),
        line: z.number().positive(),
        column: z.number().positive(),
        path: z.string(),
        code: z.string(),
        message: z.string(),
        found: z.string().optional(),
        allowed: z.string().optional(),
        nearest: z.string().optional(),
      }),
    )
    .optional(),
});

const PlanShape = z.strictObject({
  phases: texts,
  changes: z.number(),
  steps: z.array(
    z.strictObject({
      id: z.string(),
      uses: z.string(),
      address: z.string(),
      role: z.string(),
      kind: z.enum(['resource', 'action', 'check']),
      verdict: z.enum(['change', 'in sync', 'runs', 'cannot tell', 'skipped']),
      changes: z.array(z.strictObject({ id: z.string(), from: state, to: state })),
      notes: texts,
      items: texts.optional(),
      unknown: z.array(z.strictObject({ id: z.string(), why: z.string(), refused: z.boolean() })),
      drift: z.array(z.looseObject({ id: z.string() })),
      breached: texts,
      missing: texts,
      unasked: z.string().optional(),
      unusable: texts.optional(),
      refusal: z.looseObject({ message: z.string() }).optional(),
      skipped: z.string().optional(),
      group: z.number().optional(),
    }),
  ),
});

const result = {
  ok: z.boolean(),
  exit: z.number(),
  verb: z.string(),
  environment: z.string(),
  window: z.string().optional(),
  code: z.string().optional(),
  headline: z.string().min(1),
  details: texts,
  look: z.number(),
  next,
};
const phase = z.enum(['announced', 'open', 'soaking', 'closed', 'aborted']);

export const VerbShape = z.strictObject({
  ...result,
  phase: phase.optional(),
  reached: z.boolean().optional(),
  since: time.optional(),
  until: time.optional(),
  plan: PlanShape.optional(),
  verified: z
    .array(
      z.strictObject({
        step: z.string(),
        uses: z.string(),
        outcome: z.enum(['pass', 'fail', 'inconclusive', 'unknown', 'drift', 'in sync', 'change']),
        summary: z.string(),
        findings: texts,
      }),
    )
    .optional(),
});

export const StatusShape = z.union([
  z.strictObject({
    ok: z.boolean(),
    exit: z.number(),
    environment: z.string().nullable(),
    window: z.null(),
    label: z.literal('none'),
    lines: texts,
    next,
    asked: z.boolean(),
    holders: z.array(
      z.strictObject({ step: z.string(), id: z.string(), since: time, until: time, reason: z.string() }),
    ),
    notAsked: z.array(z.strictObject({ step: z.string(), why: z.string() })),
  }),
  z.strictObject({
    ok: z.boolean(),
    exit: z.number(),
    environment: z.string(),
    window: z.string(),
    label: z.string(),
    lines: texts,
    next,
    alive: z.boolean(),
    overdueMs: ms,
    leftMs: ms,
    beginEndBy: time,
    toUndo: z.number(),
    notes: texts,
    truth: z.strictObject({
      writes: z.enum(['refused', 'open', 'unknown']),
      reason: z.string(),
      what: z.string(),
      since: time.nullable(),
      lastHeld: time.nullable(),
      readOnlyMs: ms.nullable(),
      walls: z.array(z.strictObject({ step: z.string(), is: z.enum(['held', 'open', 'unknown']), why: z.string() })),
    }),
    guards: z
      .array(
        z.strictObject({
          guard: z.string(),
          readOnly: z.boolean().nullable(),
          refused: z.number().nullable(),
          inFlight: z.number().nullable(),
          queued: z.number().nullable(),
          problem: z.string().nullable(),
        }),
      )
      .optional(),
    writes: z
      .array(
        z.strictObject({
          step: z.string(),
          outcome: z.enum(['pass', 'fail', 'inconclusive', 'unknown']),
          summary: z.string(),
        }),
      )
      .optional(),
    phase,
    reached: z.boolean(),
    since: time,
    until: time,
    by: z.string(),
    reason: z.string(),
    failures: z.array(z.looseObject({ step: z.string(), message: z.string() })),
  }),
]);

export const StatusAllShape = z.strictObject({
  ok: z.boolean(),
  exit: z.number(),
  windows: z.array(StatusShape),
});

export const HistoryShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  state: z.string(),
  windows: z.array(
    z.strictObject({
      window: z.string(),
      environment: z.string(),
      label: z.string(),
      since: time,
      until: time,
      ended: time.nullable(),
      readOnlyMs: ms.nullable(),
      by: z.string(),
      reason: z.string(),
      ticket: z.string().nullable(),
      look: z.number(),
      handedTo: z.string().nullable(),
      handedAt: time.nullable(),
      trouble: z.boolean(),
    }),
  ),
  more: z.number(),
});

export const ExportedShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  verb: z.literal('window export'),
  flag: z.boolean(),
  environment: z.string(),
  window: z.string(),
  output: z.string(),
  handedOver: z.boolean(),
  events: z.number(),
});

export const ObservedShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  verb: z.literal('observe'),
  output: z.string(),
  environment: z.string(),
  recordedAt: time,
  window: z.string().nullable(),
  steps: z.number(),
  resources: z.number(),
  unseen: z.array(z.strictObject({ step: z.string(), why: z.string() })),
});

export const RehearseShape = z.strictObject({
  ...result,
  problems: z.array(
    z.strictObject({
      step: z.string(),
      message: z.string(),
      kind: z.enum(['refused', 'right', 'unseen', 'unusable']).optional(),
    }),
  ),
  steps: z.array(
    z.strictObject({
      id: z.string(),
      uses: z.string(),
      kind: z.string(),
      start: z.strictObject({ change: z.number(), inSync: z.number(), unknown: z.number() }),
      notes: texts,
      asBefore: z.number(),
      leaves: z.string().optional(),
      skipped: z.string().optional(),
    }),
  ),
  asBefore: z.strictObject({ of: z.number(), are: z.number() }),
  leaves: texts,
  variables: z.strictObject({ named: z.number(), missing: texts }),
  rights: z.enum(['ok', 'missing', 'not asked']),
  time: z.strictObject({ startMs: ms, budgetMs: ms, backMs: ms, soakMs: ms, shortestWindowMs: ms }),
  world: z.strictObject({ recordedAt: time, ageMs: ms, live: z.boolean() }),
  notes: texts,
  plan: PlanShape,
});

export const ReportShape = z.strictObject({
  version: z.literal(1),
  window: z.string(),
  environment: z.string(),
  outcome: z.string(),
  reason: z.string(),
  ticket: z.string().nullable(),
  by: z.string(),
  contact: z.string(),
  statusPage: z.string().nullable(),
  rollbackPlan: z.string().nullable(),
  runbook: z.strictObject({ name: z.string(), path: z.string() }),
  maint: z.string(),
  promises: z
    .array(
      z.strictObject({
        promise: z.enum([
          'writes are refused',
          'nothing is written',
          'reads are fine',
          'people are told',
          'retrieval is as before',
        ]),
        verdict: z.enum(['kept', 'broken', 'not measured']),
        only: z.string().nullable(),
        seen: z.string().min(1),
        until: time.nullable(),
        evidence: z.string().nullable(),
      }),
    )
    .length(5),
  look: texts,
  handed: z.strictObject({ to: z.string(), by: z.string(), at: time }).nullable(),
  times: z.strictObject({
    planned: z.strictObject({ since: time, until: time, ms }),
    actual: z.strictObject({
      opened: time,
      wallsClosed: time.nullable(),
      wallsOpen: time.nullable(),
      ended: time.nullable(),
    }),
    extended: z.array(z.strictObject({ at: time, until: time, by: z.string() })),
    overrunMs: ms,
  }),
  readOnly: z
    .strictObject({
      ms,
      measured: z.boolean(),
      periods: z.array(z.strictObject({ from: time, to: time.nullable(), ms, fromIs: z.string(), toIs: z.string() })),
    })
    .nullable(),
  breaches: z.array(
    z.strictObject({
      step: z.string(),
      from: time,
      found: time,
      closedAgain: time.nullable(),
      ms,
      expired: z.boolean(),
    }),
  ),
  notices: z.array(
    z.strictObject({
      step: z.string(),
      what: z.string(),
      planned: time.nullable(),
      happened: time,
      told: time.nullable(),
      failed: z.string().nullable(),
    }),
  ),
  budget: z.strictObject({
    budgetMs: ms,
    tookMs: ms.nullable(),
    overMs: ms,
    steps: z.array(z.strictObject({ step: z.string(), ms })),
  }),
  timeline: z.array(
    z.strictObject({
      at: time,
      what: z.string().min(1),
      step: z.string().optional(),
      by: z.string().optional(),
      minor: z.literal(true).optional(),
    }),
  ),
  changes: z.array(
    z.strictObject({
      at: time,
      step: z.string(),
      id: z.string(),
      phase,
      before: state,
      after: state,
      outcome: z.enum(['written', 'not written', 'unknown']),
    }),
  ),
  checks: z.array(
    z.strictObject({
      at: time,
      step: z.string(),
      moment: z.string(),
      outcome: z.enum(['pass', 'fail', 'inconclusive', 'unknown']),
      summary: z.string(),
      findings: texts,
      looks: texts.optional(),
      evidence: z.unknown(),
    }),
  ),
  backfills: z.array(
    z.strictObject({
      at: time,
      step: z.string(),
      applied: z.number(),
      alreadyApplied: z.number(),
      dead: z.number(),
      left: z.number(),
      stopped: z.string().nullable(),
    }),
  ),
  actions: z.array(z.strictObject({ at: time, step: z.string(), edge: z.string(), state: z.string(), summary: texts })),
  drift: z.array(
    z.strictObject({ at: time, step: z.string(), id: z.string(), ours: state, now: state, gone: z.boolean() }),
  ),
  leftovers: z.array(z.strictObject({ step: z.string(), id: z.string(), before: state, why: z.string() })),
  failures: z.array(
    z.strictObject({
      at: time,
      step: z.string(),
      phase,
      code: z.string(),
      message: z.string(),
      ids: texts,
    }),
  ),
  runs: z.array(
    z.strictObject({
      verb: z.string(),
      by: z.string(),
      began: time,
      ended: time.nullable(),
      exit: z.number().nullable(),
    }),
  ),
});

export const CheckShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  path: z.string(),
  name: z.string(),
  environments: texts,
  steps: z.array(
    z.strictObject({ id: z.string(), uses: z.string(), line: z.number(), skipped: z.string().optional() }),
  ),
  surfaces: texts,
  variablesSet: z.number().nullable(),
  problems: z.tuple([]),
  warnings: texts,
});

const listedSurface = {
  name: z.string(),
  kind: z.enum(['http', 'graphql', 'vector', 'kv', 'tool', 'job']),
  match: z.string(),
  disposition: z.enum(['refuse', 'buffer', 'drop', 'pass']),
  status: z.number(),
  order: z.string().nullable(),
  tenant: z.string().nullable(),
  key: z.enum(['header', 'content']).nullable(),
  owner: z.string().nullable(),
  purpose: z.string().nullable(),
  canary: z.string().nullable(),
};
const seen = { refused: z.number(), queued: z.number(), dropped: z.number(), passed: z.number() };

export const ScopeListShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  runbook: z.string(),
  path: z.string().nullable(),
  shortestTokenLifeMs: z.number().nullable(),
  surfaces: z.array(z.strictObject(listedSurface)),
});

export const ScopeCheckShape = z.strictObject({
  ok: z.boolean(),
  exit: z.number(),
  look: z.number(),
  window: z.string().nullable(),
  guards: z.array(
    z.strictObject({
      guard: z.string(),
      problem: z.string().nullable(),
      counts: z.boolean(),
      list: z.enum(['same', 'other']).nullable(),
      lacks: texts,
      extra: texts,
    }),
  ),
  surfaces: z.array(z.strictObject({ ...listedSurface, ...seen, seen: z.boolean() })),
  unnamed: z.array(z.strictObject({ method: z.string(), path: z.string(), count: z.number() })),
  unknown: z.array(z.strictObject({ name: z.string(), ...seen })),
  neverSeen: texts,
  canaries: z.array(
    z.strictObject({
      surface: z.string(),
      status: z.number().nullable(),
      firstRefusedAt: time.nullable(),
      firstAnsweredAt: time.nullable(),
      wrote: z.boolean(),
    }),
  ),
});

const intentState = z.enum(['queued', 'applying', 'applied', 'dead', 'dropped']);
const states = {
  queued: z.number(),
  applying: z.number(),
  applied: z.number(),
  dead: z.number(),
  dropped: z.number(),
};
const intent = {
  receipt: z.string(),
  state: intentState,
  surface: z.string(),
  tenant: z.string(),
  key: z.string(),
  order: z.string().nullable(),
  method: z.string(),
  target: z.string(),
  bodyBytes: z.number(),
  window: z.string().nullable(),
  acceptedAt: time,
  settledAt: time.nullable(),
  attempts: z.number(),
  unknown: z.boolean(),
  parked: z.boolean(),
  alreadyApplied: z.boolean(),
  status: z.number().nullable(),
  reason: z.string().nullable(),
};

export const QueueStatusShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  queue: z.string(),
  states: z.strictObject(states),
  surfaces: z.array(z.strictObject({ surface: z.string(), ...states })),
  unknown: z.number(),
  parked: z.strictObject({ partitions: z.number(), waiting: z.number() }),
  claimed: z.number(),
  bytes: z.number(),
  oldest: time.nullable(),
  holds: z.array(z.strictObject({ window: z.string(), reason: z.string(), since: time })),
  durability: z.strictObject({ survives: z.enum(['process', 'power', 'machine']), proof: z.string() }),
  limits: z.record(z.string(), z.number()),
});

export const QueueListShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  intents: z.array(z.strictObject(intent)),
  next: z.string().nullable(),
});

export const QueueShowShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  ...intent,
  receivedAt: time,
  headers: z.record(z.string(), z.string()),
  moves: z.array(z.strictObject({ at: time, by: z.string(), from: intentState, to: intentState, reason: z.string() })),
});

export const QueueMovedShape = z.strictObject({
  ok: z.boolean(),
  exit: z.number(),
  verb: z.string(),
  moved: texts,
  refused: z.array(z.strictObject({ receipt: z.string(), why: z.string() })),
});

export const QueueBackfillShape = z.strictObject({
  ok: z.boolean(),
  exit: z.number(),
  verb: z.literal('queue backfill'),
  queue: z.string(),
  applied: z.number(),
  alreadyApplied: z.number(),
  dead: z.number(),
  left: z.number(),
  parked: z.number(),
  dropped: z.number(),
  unknown: z.number(),
  sent: z.number(),
  retries: z.number(),
  elapsedMs: z.number(),
  stopped: z.strictObject({ why: z.string(), at: time, receipt: z.string().nullable(), detail: z.string() }).nullable(),
});

const ShownStep = z.strictObject({
  id: z.string(),
  uses: z.string(),
  summary: z.string(),
  kind: z.string(),
  role: z.string(),
  group: z.number().optional(),
  deadlineMs: ms,
  onFailure: z.enum(['undo', 'hold', 'continue']),
  onBad: z.enum(['hold', 'refreeze', 'continue']).optional(),
  pacePerMinute: z.number().optional(),
  when: texts,
  variables: texts,
  skipped: z.string().optional(),
});
export const ShowShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  name: z.string(),
  path: z.string(),
  environment: z.string(),
  environments: texts,
  budgetMs: ms,
  soakMs: ms,
  onExpiry: z.enum(['hold', 'open']),
  contact: z.string(),
  statusPage: z.string().optional(),
  rollbackPlan: z.string().optional(),
  overdueNotice: z.string().optional(),
  surfaces: z.strictObject({ path: z.string(), names: texts }).optional(),
  start: z.array(ShownStep),
  end: z.array(ShownStep),
});

export const StepsShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  plugins: z
    .array(
      z.strictObject({
        name: z.string(),
        id: z.string(),
        summary: z.string(),
        kind: z.enum(['resource', 'action', 'check']),
        role: z.string(),
        when: z.string(),
        leaves: z.string().optional(),
        example: z.string(),
        params: z.array(
          z.strictObject({
            name: z.string(),
            type: z.string(),
            required: z.boolean(),
            default: z.string().optional(),
            secret: z.boolean(),
            description: z.string(),
          }),
        ),
      }),
    )
    .min(1),
});

export const CompletionShape = z.strictObject({
  ok: z.literal(true),
  exit: z.literal(0),
  shell: z.enum(['bash', 'zsh', 'fish']),
  script: z.string().min(1),
});

export const DoctorShape = z.strictObject({
  ok: z.boolean(),
  exit: z.number(),
  verb: z.literal('doctor'),
  environment: z.string(),
  code: z.literal('E_UNUSABLE').optional(),
  headline: z.string(),
  details: z.tuple([]),
  look: z.number(),
  next,
  problems: z.number(),
  rows: z.array(
    z.strictObject({
      name: z.string(),
      uses: z.string().optional(),
      address: z.string(),
      verdict: z.enum(['ok', 'problem', 'warning', 'skipped']),
      found: texts,
      how: z.string(),
      ms: z.number(),
      effect: z.string().optional(),
      todo: z.string().optional(),
    }),
  ),
});
