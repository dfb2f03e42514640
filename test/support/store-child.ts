// One process more on the same state, for the store's suite: `store-child.ts <state> race|append`.
// Says "ready", begins at the first line on stdin, and says what came of it, one JSON line each.
import { once } from 'node:events';
import { StaleToken } from '../../src/engine/journal.ts';
import { openJournal } from '../../src/store/index.ts';
import { owner } from './store-fixture.ts';

const [, , state, mode] = process.argv;
const journal = await openJournal({ state: state!, env: {}, write: true, version: '0.1.0' });
say('ready');
await once(process.stdin, 'data');

if (mode === 'race') {
  const taking = await journal.take('prod', owner(`child ${process.pid}`));
  if ('held' in taking) {
    say({ held: taking.held.token });
  } else {
    await journal.open(taking.taken, `w-${process.pid}`, [{ type: 'overdue' }]);
    say({ taken: taking.taken.token });
  }
  await journal.end();
  process.stdin.destroy();
}

if (mode === 'append') {
  const taking = await journal.take('prod', owner('child'));
  if (!('taken' in taking)) throw new Error('the lease is held');
  await journal.open(taking.taken, 'w-1', batch(0));
  for (let n = 1; ; n++) {
    await journal.append(taking.taken, 'w-1', batch(n)).catch((error) => {
      if (error instanceof StaleToken) process.exit(3);
      throw error;
    });
    say(n);
  }
}

function batch(n: number) {
  const text = `${n} `.repeat(4_000);
  return [1, 2, 3].map(() => ({ type: 'note' as const, text, by: 'child' }));
}

function say(what: unknown): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}
