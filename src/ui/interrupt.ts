// Ctrl-C, a closed terminal, a lost ssh session: begin nothing new, give the write in flight three seconds, be gone
// within five. A second one leaves at once. Either way the journal is true and the same command goes on.
import type { Interrupt } from '../engine/run.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';

const IN_FLIGHT_MS = 3_000;
/** Within five seconds, and a busy machine is late. */
const GONE_MS = 4_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function listenForSignals(say: (text: string) => void): Interrupt & { stop(): void } {
  const soft = new AbortController();
  const hard = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  function heard(signal: (typeof SIGNALS)[number]): void {
    if (soft.signal.aborted) process.exit(EXIT.INTERRUPTED);
    const error = new MaintError('E_INTERRUPTED', `interrupted (${signal})`);
    say('stopping: the write in flight gets 3 s; once more leaves at once');
    soft.abort(error);
    timers.push(setTimeout(() => hard.abort(error), IN_FLIGHT_MS).unref());
    timers.push(setTimeout(leave, GONE_MS).unref());
    function leave(): void {
      say(
        `E_INTERRUPTED  ${error.message}; what it waited for did not answer. What is recorded stays. Next: maint status`,
      );
      process.exit(EXIT.INTERRUPTED);
    }
  }
  for (const signal of SIGNALS) process.on(signal, heard);
  return {
    signal: soft.signal,
    hard: hard.signal,
    stop() {
      for (const signal of SIGNALS) process.off(signal, heard);
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
