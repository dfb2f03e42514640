// What every store must do: the journal port's conformance suite.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { JournalEvent } from '../../src/engine/events.ts';
import { type Journal, LEASE_MS, StaleToken, WindowExists } from '../../src/engine/journal.ts';
import { owner, type StoreFixture, taken } from '../support/store-fixture.ts';

const note = (text: string): JournalEvent => ({ type: 'note', text, by: 'ana' });
const texts = async (journal: Journal, id = 'w-1', after?: number) =>
  (await journal.read(id, after)).map(({ seq, event }) => [seq, event.type === 'note' ? event.text : event.type]);

export function storeSuite(name: string, open: () => Promise<StoreFixture>): void {
  describe(`the journal on ${name}`, () => {
    let store: StoreFixture;
    let journal: Journal;
    beforeEach(async () => {
      store = await open();
      journal = store.journal;
    });
    afterEach(() => store.cleanup());

    test('begins empty', async () => {
      expect(await journal.windows()).toEqual([]);
      expect(await journal.read('w-1')).toEqual([]);
      expect(await journal.lease('prod')).toBeUndefined();
    });

    test('numbers events per window from 1, and gives back what was appended', async () => {
      const lease = await taken(journal);
      const opened = await journal.open(lease, 'w-1', [note('a'), note('b')]);
      const more = await journal.append(lease, 'w-1', [note('Zürich 🚧 "quoted" \u0000')]);
      expect(opened.map(({ seq }) => seq)).toEqual([1, 2]);
      expect(more).toEqual([
        {
          seq: 3,
          at: new Date(await journal.now()).toISOString(),
          token: lease.token,
          event: note('Zürich 🚧 "quoted" \u0000'),
        },
      ]);
      expect(await journal.read('w-1')).toEqual([...opened, ...more]);
      expect(await journal.read('w-1', 2)).toEqual(more);
      expect(await journal.read('w-1', 3)).toEqual([]);
      const other = await taken(journal, 'staging');
      expect((await journal.open(other, 'w-2', [note('c')])).map(({ seq }) => seq)).toEqual([1]);
    });

    test('is seen by a second connection, and after closing', async () => {
      const lease = await taken(journal);
      const events = await journal.open(lease, 'w-1', [note('a')]);
      const second = await store.reopen();
      expect(await second.read('w-1')).toEqual(events);
      await second.append(lease, 'w-1', [note('b')]);
      await journal.append(lease, 'w-1', [note('c')]);
      expect(await texts(second)).toEqual([
        [1, 'a'],
        [2, 'b'],
        [3, 'c'],
      ]);
      await second.end();
      await second.end();
    });

    test('takes calls at the same time on one connection', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', [note('0')]);
      await Promise.all([
        ...Array.from({ length: 30 }, (_, n) => journal.append(lease, 'w-1', [note(`${n}a`), note(`${n}b`)])),
        ...Array.from({ length: 10 }, () => journal.renew(lease)),
      ]);
      const seen = await texts(journal, 'w-1', 1);
      expect(seen.map(([seq]) => seq)).toEqual(Array.from({ length: 60 }, (_, n) => n + 2));
      for (let n = 0; n < 60; n += 2)
        expect(String(seen[n]![1]).slice(0, -1)).toBe(String(seen[n + 1]![1]).slice(0, -1));
    });

    test('appends all or nothing', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', [note('a')]);
      const cyclic: Record<string, unknown> = {};
      cyclic.self = cyclic;
      const bad: JournalEvent = { type: 'outcome', step: 's', results: [{ id: 'x', is: cyclic }] };
      await expect(
        journal.append(lease, 'w-1', [...Array.from({ length: 1_500 }, () => note('b')), bad]),
      ).rejects.toThrow('circular');
      await expect(journal.open(await taken(journal, 'staging'), 'w-2', [bad])).rejects.toThrow('circular');
      expect(await texts(journal)).toEqual([[1, 'a']]);
      expect(await journal.windows({ id: 'w-2' })).toEqual([]);
      expect((await journal.append(lease, 'w-1', [note('c')]))[0]!.seq).toBe(2);
    });

    test('carries 10,000 changes in one event, and 5,000 events in one commit', async () => {
      const lease = await taken(journal);
      const changes = Array.from({ length: 10_000 }, (_, n) => ({
        id: `line/${n}`,
        from: { suspend: false, schedule: '*/5 * * * *' },
        to: { suspend: true, schedule: '*/5 * * * *' },
      }));
      const intent: JournalEvent = { type: 'intent', step: 'crons', changes };
      await journal.open(lease, 'w-1', [intent]);
      await journal.append(
        lease,
        'w-1',
        Array.from({ length: 5_000 }, () => note('n')),
      );
      const events = await journal.read('w-1');
      expect(events).toHaveLength(5_001);
      expect(events[0]!.event).toEqual(intent);
    });

    test('keeps one live window per environment', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', [note('a')]);
      const refused = journal.open(lease, 'w-2', [note('b')]);
      await expect(refused).rejects.toBeInstanceOf(WindowExists);
      await expect(refused).rejects.toMatchObject({ id: 'w-1' });
      // an id is never used twice, in another environment neither
      await expect(journal.open(await taken(journal, 'staging'), 'w-1', [])).rejects.toMatchObject({ id: 'w-1' });
      expect((await journal.windows()).map(({ id, live }) => [id, live])).toEqual([['w-1', true]]);
    });

    test('opens a new window once the last one is closed; the old one still takes events', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', [note('a')]);
      store.advance(1_000);
      await journal.close(lease, 'w-1', [note('end')]);
      await journal.append(lease, 'w-1', [note('after')]);
      store.advance(1_000);
      await journal.open(lease, 'w-2', [note('b')]);
      await journal.open(await taken(journal, 'staging'), 'w-3', []);
      expect(await texts(journal)).toEqual([
        [1, 'a'],
        [2, 'end'],
        [3, 'after'],
      ]);
      expect((await journal.windows({ environment: 'prod' })).map(({ id, live }) => [id, live])).toEqual([
        ['w-2', true],
        ['w-1', false],
      ]);
      expect((await journal.windows({ live: false })).map(({ id }) => id)).toEqual(['w-1']);
      expect((await journal.windows({ live: true, environment: 'prod' })).map(({ id }) => id)).toEqual(['w-2']);
      expect((await journal.windows({ id: 'w-3' })).map(({ environment }) => environment)).toEqual(['staging']);
    });

    test('adopts a window as another state recorded it; it goes back and forth, and is live in one place', async () => {
      const recorded = [1, 2, 3].map((seq) => ({
        seq,
        at: `2026-01-0${seq}T02:00:00.00${seq}Z`,
        token: 40 + seq,
        event: note(`there ${seq}`),
      }));
      const lease = await taken(journal);
      await journal.open(lease, 'w-0', [note('old')]);
      await expect(journal.adopt(lease, 'w-1', recorded, [], true)).rejects.toMatchObject({ id: 'w-0' });
      await journal.close(lease, 'w-0', []);
      const grown = await journal.adopt(lease, 'w-1', recorded, [note('here')], true);
      expect(grown).toMatchObject({ environment: 'prod', token: 44 });
      expect(await journal.lease('prod')).toMatchObject({ token: 44 });
      await expect(journal.append(lease, 'w-1', [note('late')])).rejects.toBeInstanceOf(StaleToken);
      const here = { seq: 4, at: new Date(await journal.now()).toISOString(), token: 44, event: note('here') };
      expect(await journal.read('w-1')).toEqual([...recorded, here]);
      expect(await journal.windows({ live: true })).toEqual([
        { id: 'w-1', environment: 'prod', createdAt: recorded[0]!.at, live: true },
      ]);
      // an id is in one place, and of one environment
      await expect(journal.adopt(grown, 'w-1', recorded, [], true)).rejects.toMatchObject({ id: 'w-1' });
      const staging = await taken(journal, 'staging');
      await journal.close(grown, 'w-1', [note('handed')]);
      await expect(journal.adopt(staging, 'w-1', recorded, [], false)).rejects.toBeInstanceOf(WindowExists);
      // back again, with what was done elsewhere
      const back = [...(await journal.read('w-1')), { ...recorded[0]!, seq: 6, token: 7, event: note('elsewhere') }];
      const again = await journal.adopt(grown, 'w-1', back, [note('back')], true);
      expect(again.token).toBeGreaterThan(43);
      expect((await texts(journal)).slice(3)).toEqual([
        [4, 'here'],
        [5, 'handed'],
        [6, 'elsewhere'],
        [7, 'back'],
      ]);
      expect((await journal.append(again, 'w-1', [note('on')]))[0]!.seq).toBe(8);
      // one that is over is only read
      const old = await journal.adopt(again, 'w-2', recorded, [], false);
      expect(old.token).toBe(again.token);
      expect((await journal.windows({ live: true })).map(({ id }) => id)).toEqual(['w-1']);
      await expect(journal.adopt(lease, 'w-3', recorded, [], false)).rejects.toBeInstanceOf(StaleToken);
      expect(await journal.read('w-3')).toEqual([]);
    });

    test('refuses a window that it does not know, or of another environment', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', [note('a')]);
      await expect(journal.append(lease, 'w-9', [note('b')])).rejects.toMatchObject({ code: 'E_NO_WINDOW' });
      await expect(journal.close(await taken(journal, 'staging'), 'w-1', [])).rejects.toMatchObject({
        code: 'E_NO_WINDOW',
      });
      expect((await journal.windows({ live: true })).map(({ id }) => id)).toEqual(['w-1']);
    });

    test('lets nobody in while the lease lives, and anybody after it', async () => {
      const lease = await taken(journal);
      expect(lease).toMatchObject({ token: 1, owner: owner('ana@lapis'), expiresAt: lease.renewedAt + LEASE_MS });
      store.advance(LEASE_MS - 1);
      expect(await journal.take('prod', owner('ben'))).toEqual({ held: lease });
      const renewed = await journal.renew(lease);
      expect(renewed).toMatchObject({ token: 1, renewedAt: lease.renewedAt + LEASE_MS - 1 });
      expect(renewed.expiresAt).toBe(renewed.renewedAt + LEASE_MS);
      expect(await journal.lease('prod')).toEqual(renewed);
      store.advance(LEASE_MS);
      expect(await journal.take('prod', owner('ben'))).toMatchObject({ taken: { token: 2, owner: { name: 'ben' } } });
      await expect(journal.renew(renewed)).rejects.toBeInstanceOf(StaleToken);
    });

    test('an expired lease that nobody took still fences in the newest token', async () => {
      const lease = await taken(journal);
      await journal.open(lease, 'w-1', []);
      store.advance(10 * LEASE_MS);
      await journal.append(lease, 'w-1', [note('late')]);
      expect(await journal.renew(lease)).toMatchObject({ token: lease.token });
    });

    test('gives a lease over where the token of the one that is there is named, once', async () => {
      const lease = await taken(journal);
      expect(await journal.take('prod', owner('ben'), lease.token)).toMatchObject({ taken: { token: 2 } });
      expect(await journal.take('prod', owner('eva'), lease.token)).toMatchObject({ held: { token: 2 } });
    });

    test('refuses every write with a token that is not the newest, and writes nothing', async () => {
      const stale = await taken(journal);
      await journal.open(stale, 'w-1', [note('a')]);
      const { taken: fresh } = (await journal.take('prod', owner('ben'), stale.token)) as { taken: typeof stale };
      await expect(journal.append(stale, 'w-1', [note('b')])).rejects.toBeInstanceOf(StaleToken);
      await expect(journal.close(stale, 'w-1', [note('b')])).rejects.toBeInstanceOf(StaleToken);
      await expect(journal.renew(stale)).rejects.toBeInstanceOf(StaleToken);
      await journal.release(stale);
      expect(await journal.lease('prod')).toEqual(fresh);
      expect(await texts(journal)).toEqual([[1, 'a']]);
      await journal.close(fresh, 'w-1', []);
      await expect(journal.open(stale, 'w-2', [])).rejects.toBeInstanceOf(StaleToken);
      expect((await journal.windows()).map(({ id, live }) => [id, live])).toEqual([['w-1', false]]);
    });

    test('a token never comes back, after a release neither', async () => {
      const first = await taken(journal);
      await journal.open(first, 'w-1', []);
      await journal.release(first);
      await journal.release(first);
      expect(await journal.lease('prod')).toBeUndefined();
      await expect(journal.append(first, 'w-1', [note('b')])).rejects.toBeInstanceOf(StaleToken);
      await expect(journal.renew(first)).rejects.toBeInstanceOf(StaleToken);
      expect((await taken(journal)).token).toBe(2);
      expect((await taken(journal, 'staging')).token).toBe(1);
    });

    test('of two connections exactly one takes the lease, round after round', async () => {
      const second = await store.reopen();
      for (let round = 1; round <= 50; round++) {
        const takings = await Promise.all([journal.take('prod', owner('a')), second.take('prod', owner('b'))]);
        const won = takings.flatMap((taking) => ('taken' in taking ? [taking.taken] : []));
        expect(won.map(({ token }) => token)).toEqual([round]);
        await journal.release(won[0]!);
      }
      await second.end();
    });

    test('of several processes exactly one takes the lease and opens the window', async () => {
      for (let round = 0; round < 2; round++) {
        await using children = await spawned(store.state, 'race', 3);
        for (const child of children.list) child.process.stdin!.write('go\n');
        const said = await Promise.all(children.list.map((child) => child.next()));
        expect(said.filter((line) => 'taken' in (line as object))).toHaveLength(1);
        expect(await journal.windows({ live: true })).toHaveLength(1);
        const [window] = await journal.windows({ live: true });
        const held = await journal.lease('prod');
        await journal.close(held!, window!.id, []);
        await journal.release(held!);
      }
    });

    test('killed in the middle of appends: whole batches, nothing acknowledged is lost', async () => {
      await using children = await spawned(store.state, 'append', 1);
      const [child] = children.list;
      child!.process.stdin!.write('go\n');
      let acknowledged = 0;
      while (acknowledged < 40) acknowledged = (await child!.next()) as number;
      child!.process.kill('SIGKILL');
      for (let line = await child!.next(); line !== undefined; line = await child!.next())
        acknowledged = line as number;
      const again = await store.reopen();
      // a server may still be at the dead process's last commit: this waits for it
      await again.renew((await again.lease('prod'))!);
      const events = await again.read('w-1');
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
      expect(events.length % 3).toBe(0);
      // batch 0 opened the window; one more may be durable without having been said
      expect([acknowledged + 1, acknowledged + 2]).toContain(events.length / 3);
      const lease = (await again.lease('prod'))!;
      expect((await again.append(lease, 'w-1', [note('on')]))[0]!.seq).toBe(events.length + 1);
      await again.end();
    });
  });
}

/** Children that said "ready"; ended and awaited with the scope. */
export async function spawned(state: string, mode: string, count: number) {
  const list = Array.from({ length: count }, () => start(state, mode));
  const exits = list.map(({ process }) => new Promise((resolve) => process.once('exit', resolve)));
  expect(await Promise.all(list.map((child) => child.next()))).toEqual(list.map(() => 'ready'));
  return {
    list,
    async [Symbol.asyncDispose]() {
      for (const { process } of list) process.kill('SIGKILL');
      await Promise.all(exits);
    },
  };
}

function start(state: string, mode: string): { process: ChildProcess; next(): Promise<unknown> } {
  const script = new URL('../support/store-child.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, state, mode], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    process: child,
    async next() {
      const { done, value } = await lines.next();
      return done ? undefined : JSON.parse(value);
    },
  };
}
