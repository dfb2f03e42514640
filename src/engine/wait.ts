// What converge waits for besides its own writes: a command that a former run began, and what a write has set going.
import { type Acting, name, pollOf, StepProblem, seconds } from './acting.ts';
import type { Phase, Resource, Step } from './contract.ts';
import { ownedView } from './see.ts';
import { ofStep } from './window.ts';

/** A command of a former run may still be writing: it is waited for, and where it cannot be seen a person must look. */
export async function waitForSpawned(acting: Acting, step: Step, deadline: number): Promise<void> {
  const spawned = acting.state.spawned.get(step.id);
  if (!spawned || spawned.token === acting.token) return;
  const running = acting.running(spawned);
  if (running === undefined) {
    // host/boot/namespace: a person knows the first, and the rest only tells that it is not here
    const [host = spawned.host] = spawned.host.split('/');
    const where = host === acting.machine.split('/')[0] ? `${host}, before its reboot or in another container` : host;
    throw new StepProblem(
      'E_ELSEWHERE',
      `a command of the last run (pid ${spawned.pid} on ${where}) may still run there`,
      [],
      `look on ${where}, then run this again from there`,
    );
  }
  if (!running) return;
  acting.emit({
    type: 'step-doing',
    step: step.id,
    text: `waiting for the command of the last run (pid ${spawned.pid})`,
    givesUp: deadline,
  });
  const ended = await pollOf(acting)(100, async () => (acting.running(spawned) ? undefined : true), deadline);
  if (ended) return;
  throw new StepProblem(
    'E_STILL_RUNNING',
    `the command of the last run (pid ${spawned.pid}) still runs`,
    [],
    `end it (kill ${spawned.pid}), then run this again`,
  );
}

/** What is not in effect yet: a job that runs on, a setting that is not loaded. On the way back nothing of it is ours any more. */
export async function waitInFlight(acting: Acting, step: Step, phase: Phase, deadline: number): Promise<void> {
  const resource = step.plugin as Resource;
  if (!resource.inFlight) return;
  let running: string[] = [];
  let said = '';
  const owned = ownedView(ofStep(acting.state, step.id));
  async function look(): Promise<true | undefined> {
    const reader = acting.clients.reader({ signal: acting.signal, deadline: deadline + 1000 });
    running = await resource.inFlight!(reader, step.params, { phase, window: acting.state.window, owned });
    const text = `waiting for ${name(running)}`;
    if (running.length > 0 && text !== said)
      acting.emit({ type: 'step-doing', step: step.id, text, givesUp: deadline });
    said = text;
    return running.length === 0 ? true : undefined;
  }
  if (await pollOf(acting)(200, look, deadline)) return;
  throw new StepProblem(
    'E_STILL_RUNNING',
    `${name(running)} still ${running.length === 1 ? 'runs' : 'run'} after ${seconds(step.deadlineMs)}`,
    running,
    `when ${name(running)} has finished, run this again`,
  );
}
