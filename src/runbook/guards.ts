// Which guarded services a runbook knows: the steps that ask them name their addresses.
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';
import { quoted } from './problems.ts';

/** The guards that a step's params name; [] for a step that asks none. */
export function guardsOf(params: unknown): string[] {
  const { guards } = (params ?? {}) as { guards?: unknown };
  return Array.isArray(guards) ? guards.filter((guard) => typeof guard === 'string') : [];
}

/** The values of --guard. */
export function namedGuards(values: readonly string[]): string[] {
  for (const value of values) {
    const parsed = URL.parse(value);
    if (parsed?.protocol === 'http:' || parsed?.protocol === 'https:') continue;
    throw new MaintError('E_USAGE', `--guard ${quoted(value)} is no address.`, {
      details: ['allowed: http://… and https://…, the base address of a guarded service'],
      next: [advice('--guard https://api.example.com')],
    });
  }
  return [...new Set(values)];
}
