// What cannot work is refused before anything is written: a step that cannot be seen, is not allowed to act, or lacks
// something that it needs. One list, which start, rehearse, observe and doctor read. What needs an earlier step's effect
// ("cannot tell before flag") is not on it: start asks again when it gets there.
import { MaintError } from '../errors/catalogue.ts';
import { advice, because, maint, type Next, type NextRun } from '../errors/next.ts';
import { type Step, Unknown } from './contract.ts';
import type { Plan, PlannedStep, World } from './plan.ts';
import { failurePolicy, roleOf } from './roles.ts';
import { count } from './words.ts';

export interface Trouble {
  step: string;
  /** refused: the plugin's own word; right: one is missing; unseen: it could not be looked at; unusable: anything else */
  kind: 'refused' | 'right' | 'unseen' | 'unusable';
  message: string;
  next?: string | undefined;
  /** it was answered, and will not get better by trying again */
  final?: boolean | undefined;
  /** its failure would undo the start, or hold it */
  fatal: boolean;
  /** reads of users: an incident is when these fail, so they never stop a start */
  reads: boolean;
}

/** Everything in the plan that cannot work, in the order of the plan. */
export function troublesOf(planned: Pick<Plan, 'steps'>, steps: readonly Step[]): Trouble[] {
  const byId = new Map(steps.map((step) => [step.id, step]));
  return planned.steps.flatMap((entry) => {
    const step = byId.get(entry.id);
    if (!step || step.skipped) return [];
    return wordsOf(entry).map((one) => ({
      step: step.id,
      ...one,
      fatal: one.kind === 'refused' || isNeeded(step),
      reads: watchesReads(step),
    }));
  });
}

/** A failure of this step would undo the start, or hold it. */
export function isNeeded(step: Step): boolean {
  return failurePolicy(step) !== 'continue';
}

export function watchesReads({ plugin }: Step): boolean {
  return plugin.kind === 'check' && plugin.watches === true;
}

type Words = Pick<Trouble, 'kind' | 'message' | 'next' | 'final'>;

function wordsOf(entry: PlannedStep): Words[] {
  if (entry.refusal)
    return [{ kind: 'refused', message: entry.refusal.message, next: entry.refusal.next, final: true }];
  // Of what could not be seen at all, the rights say the same once more.
  const seen = entry.unknown.every(({ id, refused }) => id !== '*' || refused);
  const words: Words[] = [
    ...(seen ? entry.missing : []).map((message): Words => ({ kind: 'right', message, final: true })),
    ...entry.unknown.map(({ why, refused }): Words => ({ kind: 'unseen', message: why, final: refused })),
    ...(entry.unusable ?? []).map((message): Words => ({ kind: 'unusable', message })),
  ];
  // Of a server that is down everything says the same.
  const told = new Set(words.map(({ message }) => message));
  if (entry.unasked !== undefined && !told.has(entry.unasked)) {
    const message = entry.kind === 'resource' ? `its rights could not be asked: ${entry.unasked}` : entry.unasked;
    words.push({ kind: 'unusable', message });
  }
  return words.filter(({ message }, at) => words.findIndex((other) => other.message === message) === at);
}

export interface Refusing {
  environment: string;
  /** the command line, to try again */
  again: NextRun;
  /** nothing of this window was written yet */
  fresh: boolean;
}

/**
 * Throws (66) where the plan cannot work. Of a window that is open, only what the server itself refuses stops it: what
 * does not answer just now is tried by converge, with its retries, for the walls are closed already.
 */
export function refuseUnusable(planned: Plan, steps: readonly Step[], { environment, again, fresh }: Refusing): void {
  const troubles = troublesOf(planned, steps).filter(
    ({ fatal, reads, final }) => fatal && !reads && (fresh || final === true),
  );
  if (troubles.length === 0) return;
  const refused = troubles.filter(({ kind }) => kind === 'refused');
  if (refused.length > 0) {
    const [first, ...others] = [...refused, ...troubles.filter(({ kind }) => kind !== 'refused')];
    throw new MaintError('E_REFUSED', `${first!.step} refuses: ${first!.message}. Nothing changed.`, {
      details: others.map(({ step, message }) => `${step}  ${message}`),
      next: refused.map(({ step, next }) =>
        next === undefined ? skipping(steps.find(({ id }) => id === step)!) : advice(next),
      ),
    });
  }
  const ids = [...new Set(troubles.map(({ step }) => step))];
  const rights = troubles.every(({ kind }) => kind === 'right');
  throw new MaintError(
    rights ? 'E_NOT_ALLOWED' : 'E_UNUSABLE',
    rights
      ? `This account lacks permissions for ${count(ids.length, 'step')} of ${environment}. Nothing changed.`
      : `${environment} cannot be made read-only: ${count(ids.length, 'step')} cannot be reached or used. Nothing changed.`,
    {
      details: troubles.map(({ step, message }) => `${step}  ${message}`),
      next: [
        because(again, `${rights ? 'grant it' : 'fix it'} and try again:`),
        skipping(steps.find(({ id }) => id === ids[0])!),
      ],
    },
  );
}

/** A wall that is skipped refuses nothing: nobody may learn that afterwards. */
export function skipping(step: Step): Next {
  const without = roleOf(step) === 'wall' ? ' (then it does not refuse writes in this window)' : '';
  return advice(`or skip it: --skip ${step.id}${without}`);
}

/** A recorded world in which such a thing could not be seen would rehearse nothing: refused (66), and not recorded. */
export function refuseUnseen(world: World, steps: readonly Step[], environment: string): void {
  const needed = steps.filter((step) => !step.skipped && isNeeded(step));
  const unseen = needed.flatMap((step) => unseenOf(world.get(step.id)).map((why) => ({ step: step.id, why })));
  const [first] = unseen;
  if (!first) return;
  throw new MaintError(
    'E_UNUSABLE',
    `${environment} was not recorded: ${count(unseen.length, 'thing')} could not be seen. Nothing was written.`,
    {
      details: unseen.map(({ step, why }) => `${step}  ${why}`),
      next: [maint('observe', {}, 'fix it and try again:'), advice(`or skip it: --skip ${first.step}`)],
    },
  );
}

function unseenOf(seen: ReturnType<World['get']>): string[] {
  if (seen === undefined) return [];
  if (seen instanceof Unknown) return [seen.why];
  return [...seen.values()].flatMap((is) => (is instanceof Unknown ? [is.why] : []));
}
