// Actions: what runs at an edge of a window (a purge), journalled per edge, and again where nobody knows whether it ran.

import { type Acting, backOff, hooksOf, pollOf, throwIfInterrupted } from './acting.ts';
import { type Edge, type Phase, type Step, Unfinished } from './contract.ts';
import { WRITE_DEADLINE_MS } from './io.ts';
import { actionKey, type WindowState } from './window.ts';

export function actionEdges(state: WindowState, step: Step, phase: Phase): Edge[] {
  if (step.plugin.kind !== 'action') return [];
  const edges: Edge[] =
    phase === 'open'
      ? ['open']
      : phase === 'soaking'
        ? ['reopen']
        : phase === 'closed'
          ? [...(isOwed(state, step, 'reopen') ? (['reopen'] as const) : []), 'closed']
          : phase === 'aborted'
            ? ['reopen', 'closed']
            : [];
  return edges.filter((edge) => {
    if (step.plugin.kind !== 'action' || !step.plugin.on.includes(edge)) return false;
    const action = state.actions.get(actionKey(step.id, edge));
    if (action?.state === 'done' && action.seq > state.phaseSeq) return false;
    // An undo purges only where the window got far enough to purge, or to close a wall.
    if (phase === 'aborted') return state.actions.has(actionKey(step.id, 'open')) || state.wallsClosedAt !== undefined;
    return true;
  });
}

/** It began and did not get done: what failed while the walls opened is not over because the phase is. */
export function isOwed(state: WindowState, step: Step, edge: Edge): boolean {
  const action = state.actions.get(actionKey(step.id, edge));
  return action !== undefined && action.state !== 'done';
}

export async function takeAction(
  acting: Acting,
  step: Step,
  phase: Phase,
  began: number,
): Promise<{ text: string[]; looks: string[] }> {
  if (step.plugin.kind !== 'action') return { text: [], looks: [] };
  const deadline = began + step.deadlineMs;
  const all: string[] = [];
  const looks: string[] = [];
  for (const edge of actionEdges(acting.state, step, phase)) {
    for (let attempt = 0; ; attempt++) {
      await acting.mayWrite(WRITE_DEADLINE_MS);
      throwIfInterrupted(acting);
      await acting.record([{ type: 'action', step: step.id, edge, state: 'began', summary: [] }]);
      try {
        const writer = acting.clients.writer({ signal: acting.hard, deadline, hooks: hooksOf(acting, step) });
        const done = await step.plugin.run(writer, {
          params: step.params,
          edge,
          window: acting.state.window,
          deadline,
          poll: pollOf(acting),
          signal: acting.signal,
          progress: (text, of) =>
            acting.emit({ type: 'step-doing', step: step.id, text, givesUp: deadline, ...(of ?? {}) }),
        });
        const { summary, looks: found = [], data } = Array.isArray(done) ? { summary: done } : done;
        const more = data === undefined ? {} : { data };
        await acting.record([{ type: 'action', step: step.id, edge, state: 'done', summary, ...more }]);
        all.push(...summary);
        looks.push(...found);
        break;
      } catch (error) {
        if (await backOff(acting, error, attempt, deadline, step)) continue;
        await acting.record([
          {
            type: 'action',
            step: step.id,
            edge,
            state: 'failed',
            summary: [error instanceof Error ? error.message : String(error)],
            ...(error instanceof Unfinished && error.data !== undefined ? { data: error.data } : {}),
          },
        ]);
        throw error;
      }
    }
  }
  return { text: all.length > 0 ? all : ['done before'], looks };
}
