// What observe recorded: where it is, and what could not be seen.
import { writeFileSync } from 'node:fs';
import { count } from '../engine/words.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import type { WorldFile } from '../runbook/world.ts';
import { type Line, nextLine } from './next.ts';

/** Only its owner reads it: what runs where is nobody else's business until somebody commits it. */
export function writeWorld(path: string, file: WorldFile): void {
  try {
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' || code === 'ENOTDIR'
        ? 'its folder is not there'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'EACCES' || code === 'EPERM'
            ? 'it may not be written'
            : String(code);
    throw new MaintError('E_NO_FILE', `${JSON.stringify(path)} was not written: ${why}.`, {
      next: [advice('--output world.json')],
    });
  }
}

export function observedJson(file: WorldFile, path: string): Record<string, unknown> {
  return { ok: true, exit: 0, verb: 'observe', output: path, ...facts(file), unseen: unseen(file) };
}

export function observedLines(file: WorldFile, path: string): Line[] {
  const { steps, resources } = facts(file);
  return [
    `${file.environment} recorded: ${count(resources, 'thing')} of ${count(steps, 'step')} in ${path}.`,
    ...unseen(file).map(({ step, why }) => `  ? ${step}  ${why}`),
    nextLine(maint('rehearse', { world: path })),
  ];
}

function facts(file: WorldFile) {
  const { environment, recordedAt, window } = file;
  const resources = Object.values(file.steps).reduce((sum, step) => sum + Object.keys(step.resources ?? {}).length, 0);
  return { environment, recordedAt, window, steps: Object.keys(file.steps).length, resources };
}

function unseen(file: WorldFile): { step: string; why: string }[] {
  return Object.entries(file.steps).flatMap(([step, { unknown, resources }]) => [
    ...(unknown === undefined ? [] : [{ step, why: unknown }]),
    ...Object.entries(resources ?? {}).flatMap(([id, is]) =>
      is !== null && Object.keys(is).join() === 'unknown' ? [{ step, why: `${id}: ${is['unknown']}` }] : [],
    ),
  ]);
}
