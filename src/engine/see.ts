// One look at one resource. What the plugin saw is parsed here: what is not a State is "cannot tell", whoever answered.
import { OuterError } from '../errors/catalogue.ts';
import { type At, type Change, type Is, type Resource, type Seen, Stale, type Step, Unknown } from './contract.ts';
import { sameExactly } from './decide.ts';
import type { Reader } from './io.ts';

export interface Sight {
  states: Map<string, Is<any> | Unknown>;
  /** for write(), in this process only */
  handles: Map<string, unknown>;
  /** what was ours when this was seen */
  owned: At<any>['owned'];
}

export async function see(step: Step, reader: Reader, at: At<any>): Promise<Sight> {
  const resource = step.plugin as Resource;
  const sight: Sight = { states: new Map(), handles: new Map(), owned: at.owned };
  for (const [id, seen] of await raw(step, reader, at)) {
    sight.states.set(id, seen instanceof Unknown ? seen : parsed(step, resource, seen));
    if (!(seen instanceof Unknown)) sight.handles.set(id, seen.handle);
  }
  return sight;
}

/** A plugin that stumbles over an answer has not seen anything: a proxy or a captive portal answered, not the service. */
async function raw(step: Step, reader: Reader, at: At<any>): Promise<Map<string, Seen | Unknown>> {
  const resource = step.plugin as Resource;
  try {
    return await resource.observe(reader, step.params, at);
  } catch (error) {
    if (!isStumble(error)) throw error;
    const why = isZod(error) ? 'it has another shape' : (error as Error).message;
    throw new OuterError(notItsAnswer(step, why), { effect: 'none', retryable: true });
  }
}

function isStumble(error: unknown): boolean {
  return error instanceof TypeError || error instanceof SyntaxError || isZod(error);
}

function isZod(error: unknown): boolean {
  return error instanceof Error && /^\$?Zod/.test(error.name);
}

function parsed(step: Step, resource: Resource, { state }: Seen): Is<any> | Unknown {
  if (state === null) return null;
  const result = resource.State.safeParse(state);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue && issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
  return new Unknown(notItsAnswer(step, `${where}${issue?.message ?? 'it has another shape'}`));
}

function notItsAnswer(step: Step, why: string): string {
  return `${step.plugin.address(step.params)} gave an answer that ${step.plugin.name} cannot read (${why})`;
}

/** The changes with the handles that write() needs. Throws where something is not there any more as it was decided on. */
export function pinned(sight: Sight, changes: readonly Change<any>[]): Change<any>[] {
  return changes.map((change) => {
    const now = sight.states.get(change.id) ?? null;
    if (now instanceof Unknown) throw new OuterError(now.why, { effect: 'none', retryable: !now.refused });
    if (!sameExactly(now, change.from)) throw new Stale(`${change.id} was changed by somebody else meanwhile`);
    return { ...change, handle: sight.handles.get(change.id) };
  });
}

/** What is ours, as a plugin may know it. */
export function ownedView(
  owned: ReadonlyMap<string, { before: Is<any>; after: Is<any> }> | undefined,
): Map<string, { before: Is<any>; after: Is<any> }> {
  return new Map([...(owned ?? [])].map(([id, { before, after }]) => [id, { before, after }]));
}
