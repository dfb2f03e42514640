// What a resource says of itself where it has no words of its own for that: how many things, and what became of them.
import { type NoteContext, type Resource, Unknown, type Words } from './contract.ts';
import { isClosing } from './roles.ts';

export function notesOf(resource: Resource, context: NoteContext<any, any>): string[] {
  const told = resource.notes?.(context);
  if (told) return told;
  const { changes, when, phase } = context;
  if (resource.words) return worded(resource.words, context);
  if (when === 'plan') return [];
  if (isClosing(phase)) return [`${changes.length} restored`];
  return [changes.length === 0 ? 'in sync' : `${changes.length} changed`];
}

function worded(words: Words<any, any>, context: NoteContext<any, any>): string[] {
  const { params, phase, seen, changes, owned, when } = context;
  const there = [...seen].filter(([, state]) => state !== null && !(state instanceof Unknown));
  const count = (n: number, word: string) => (n === 0 ? [] : [words.single ? word : `${n} ${word}`]);
  const more = words.more?.(context) ?? [];
  if (isClosing(phase)) return [...count(changes.length, when === 'plan' ? words.toRelease : words.released), ...more];
  const kept = there.filter(([id]) => words.kept?.(id, params)).map(([id]) => words.name?.(id) ?? id);
  const notes = [
    ...(when === 'plan' ? count(changes.length, words.toHold) : []),
    ...count(owned.size, words.held),
    ...(kept.length > 0 ? [`${kept.length} kept (${listed([...new Set(kept)])})`] : []),
    ...more,
  ];
  return notes.length > 0 ? notes : ['nothing to change'];
}

function listed(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}
