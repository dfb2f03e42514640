// What every queue must do, whatever engine holds it: the conformance suite of the intent store and of the queue on it.
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { WriteQueue as GuardsQueue } from '../../packages/guard/src/queue.ts';
import { fingerprint, newIntent } from '../../packages/intents/src/identity.ts';
import type {
  BufferedWrite,
  Claim,
  Intent,
  IntentQueue,
  Led,
  Limits,
  QueueAnswer,
} from '../../packages/intents/src/index.ts';

export interface QueueFixture {
  queue: IntentQueue;
  /** a second process's view */
  reopen(limits?: Partial<Limits>): Promise<IntentQueue>;
  /** leases and retention, by the store's clock: real where it cannot be moved */
  advance?(ms: number): void;
  cleanup(): Promise<void>;
}

export function write(change: Partial<BufferedWrite> = {}): BufferedWrite {
  return {
    surface: 'notes',
    tenant: 't1',
    key: `k-${Math.random()}`,
    order: null,
    method: 'POST',
    target: '/notes?draft=1',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from('{"text":"one"}'),
    receivedAt: Date.now(),
    window: 'w-1',
    ...change,
  };
}

export function receiptOf(answer: QueueAnswer): string {
  if (answer.is !== 'accepted') throw new Error(`not accepted: ${JSON.stringify(answer)}`);
  return answer.receipt;
}

const OWNER = 'test';
const LEASE = 60_000;
const again = { is: 'again', delayMs: 0, unknown: false, counted: true, status: null, reason: null } as const;
const applied = { is: 'applied', status: 201, already: false } as const;

export function intentsSuite(name: string, open: (limits?: Partial<Limits>) => Promise<QueueFixture>): void {
  describe(`the queue on ${name}`, () => {
    let fixture: QueueFixture;
    let queue: IntentQueue;
    let closed = false;
    beforeEach(async () => {
      closed = false;
      fixture = await open();
      queue = fixture.queue;
    });
    afterEach(async () => {
      try {
        if (!closed) await consistent();
      } finally {
        await fixture.cleanup();
      }
    });

    const taken = async (from = queue): Promise<{ claim: Claim; intent: Intent }> => {
      const answer = await from.store.take(OWNER, LEASE);
      if (answer.is !== 'taken') throw new Error(`nothing to take: ${JSON.stringify(answer)}`);
      return answer;
    };
    /** the totals that caps and the guard go by, against what is there */
    const consistent = async () => {
      const depth = await queue.store.depth();
      const all: Intent[] = [];
      for (let after: number | undefined; ; ) {
        const page = await queue.store.list(after === undefined ? { limit: 500 } : { limit: 500, after });
        all.push(...page);
        if (page.length < 500) break;
        after = page.at(-1)?.seq;
      }
      const waiting = all.filter(({ state }) => state === 'queued' || state === 'applying');
      expect(depth.waiting).toBe(waiting.length);
      expect(depth.kept).toBe(all.filter(({ state }) => state !== 'applied' && state !== 'dropped').length);
      const busy = all.filter((each) => waiting.includes(each) || each.parked).map(({ surface }) => surface);
      expect([...depth.busy].sort()).toEqual([...new Set(busy)].sort());
      if (depth.kept === 0) expect(depth.bytes).toBe(0);
    };
    // ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────────────

    test('is a queue for the guard', () => {
      const guards: GuardsQueue = queue;
      expect(guards).toBe(queue);
    });

    test('keeps what it accepted, for a second process too', async () => {
      const sent = write({
        key: 'k1',
        order: 'acct-1',
        body: Buffer.from([0, 255, 1, 2]),
        target: '/a//b/../c;x=1?q=%20',
      });
      const receipt = receiptOf(await queue.accept(sent));
      expect(receipt).toMatch(/^[A-Za-z0-9_-]{22}$/);
      const second = await fixture.reopen();
      const intent = await second.store.get(receipt, true);
      expect(intent).toMatchObject({
        ...{
          surface: 'notes',
          tenant: 't1',
          key: 'k1',
          order: 'acct-1',
          method: 'POST',
          target: '/a//b/../c;x=1?q=%20',
        },
        ...{ headers: sent.headers, window: 'w-1', receivedAt: sent.receivedAt, state: 'queued', attempts: 0 },
        ...{ unknown: false, already: false, parked: false, status: null, reason: null, settledAt: null, bodyBytes: 4 },
      });
      expect(Buffer.from(intent?.body ?? [])).toEqual(Buffer.from([0, 255, 1, 2]));
      expect(await second.receipt(receipt)).toEqual({
        ...{ receipt, state: 'queued', settledAt: null, status: null, reason: null },
        acceptedAt: new Date(intent?.acceptedAt ?? 0).toISOString(),
      });
      expect(await queue.receipt('A'.repeat(22))).toBeNull();
      expect(await queue.receipt("' or 1=1 --")).toBeNull();
    });

    test('the same key and payload is the same receipt, whatever became of it', async () => {
      const sent = write({ key: 'same' });
      const receipt = receiptOf(await queue.accept(sent));
      expect(await queue.accept(sent)).toEqual({ is: 'accepted', receipt, replayed: true });
      const second = await fixture.reopen();
      // what is not part of the payload may differ
      const later = { ...sent, receivedAt: 1, window: 'w-2', headers: { ...sent.headers, 'x-trace-id': '7' } };
      expect(await second.accept(later)).toEqual({ is: 'accepted', receipt, replayed: true });
      const { claim } = await taken();
      await queue.store.settle(claim, receipt, applied);
      expect(await second.accept(sent)).toEqual({ is: 'accepted', receipt, replayed: true });
      expect((await queue.status()).states).toMatchObject({ applied: 1, queued: 0 });
    });

    test('the same key with another payload is refused, and takes nobody with it', async () => {
      const sent = write({ key: 'reused' });
      await queue.accept(sent);
      const others = [
        { ...sent, body: Buffer.from('{"text":"two"}') },
        { ...sent, method: 'PUT' },
        { ...sent, target: '/notes' },
        { ...sent, order: 'x' },
        { ...sent, headers: { 'content-type': 'text/plain' } },
      ];
      const answers = await Promise.all([...others.map((each) => queue.accept(each)), queue.accept(write())]);
      expect(answers.map(({ is }) => is)).toEqual([...others.map(() => 'reused'), 'accepted']);
    });

    test('a key belongs to its tenant and surface', async () => {
      const answers = await Promise.all([
        queue.accept(write({ key: 'k' })),
        queue.accept(write({ key: 'k', tenant: 't2' })),
        queue.accept(write({ key: 'k', surface: 'tags' })),
        queue.accept(write({ key: 'k', tenant: 't1notes', surface: '' })),
      ]);
      expect(new Set(answers.map(receiptOf)).size).toBe(4);
    });

    test('the same key at the same moment: one is stored, and all get its receipt', async () => {
      const second = await fixture.reopen();
      const sent = write({ key: 'together' });
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? queue : second).accept(sent)));
      expect(new Set(answers.map(receiptOf)).size).toBe(1);
      expect(answers.filter((answer) => answer.is === 'accepted' && !answer.replayed)).toHaveLength(1);
      const other = { ...sent, key: 'differ' };
      const mixed = await Promise.all([
        queue.accept(other),
        second.accept({ ...other, body: Buffer.from('x') }),
        queue.accept({ ...other, body: Buffer.from('x') }),
        second.accept(other),
      ]);
      expect(mixed.map(({ is }) => is).sort()).toEqual(['accepted', 'accepted', 'reused', 'reused']);
      expect((await queue.status()).states.queued).toBe(2);
    });

    test('takes text that an engine may choke on', async () => {
      const odd = `nul \u0000 half \ud800 quote ' " \\ ${'long '.repeat(2000)} 🚧`;
      const sent = write({ key: odd, tenant: odd, order: odd, target: `/x?${odd}`, headers: { 'x-trace-id': odd } });
      const receipt = receiptOf(await queue.accept(sent));
      expect(await queue.accept(sent)).toEqual({ is: 'accepted', receipt, replayed: true });
      expect(await queue.store.get(receipt)).toMatchObject({
        key: odd,
        tenant: odd,
        order: odd,
        headers: sent.headers,
      });
      expect(await queue.busy('notes', odd, odd)).toBe(true);
    });

    test('credentials are not stored, whoever hands them in', async () => {
      const headers = { authorization: 'Bearer s3cret', Cookie: 's3cret', 'x-api-key': 's3cret', 'x-trace-id': '1' };
      const receipt = receiptOf(await queue.accept(write({ headers, target: '/notes?token=s3cret&n=1' })));
      const stored = await queue.store.get(receipt, true);
      expect(stored?.headers).toEqual({ 'x-trace-id': '1' });
      const shown = JSON.stringify([await queue.list(), await queue.show(receipt), await queue.status()]);
      expect(shown).not.toContain('s3cret');
      expect(shown).toContain('/notes?token=…&n=…');
    });

    // ── Caps ──────────────────────────────────────────────────────────────────────────────────────────────────────

    test('is full by count; what was acknowledged stays, and its key is answered', async () => {
      const small = await fixture.reopen({ count: 5 });
      const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => small.accept(write({ key: `n${n}` }))));
      expect(answers.filter(({ is }) => is === 'accepted')).toHaveLength(5);
      const full = answers.find(({ is }) => is === 'full');
      expect(full).toMatchObject({ is: 'full', why: expect.stringMatching(/5 writes/) });
      const first = answers.findIndex(({ is }) => is === 'accepted');
      expect(await small.accept(write({ key: `n${first}` }))).toMatchObject({ is: 'accepted', replayed: true });
      // room is made by applying
      const { claim, intent } = await taken(small);
      await small.store.settle(claim, intent.receipt, applied);
      expect(await small.accept(write())).toMatchObject({ is: 'accepted' });
      expect(await small.accept(write())).toMatchObject({ is: 'full' });
      // and not by a dead letter
      const next = await taken(small);
      await small.store.settle(next.claim, next.intent.receipt, { is: 'dead', status: 422, reason: 'no', park: true });
      expect(await small.accept(write())).toMatchObject({ is: 'full' });
    });

    test('is full by bytes, by age and by the size of one body', async () => {
      const body = Buffer.alloc(3_000, 'x');
      const bytes = await fixture.reopen({ bytes: 12_000 });
      const answers = [];
      for (let n = 0; n < 6; n++) answers.push(await bytes.accept(write({ body })));
      expect(answers.filter(({ is }) => is === 'accepted').length).toBeGreaterThanOrEqual(2);
      expect(answers.at(-1)).toMatchObject({ is: 'full', why: expect.stringMatching(/bytes/) });
      const large = await fixture.reopen({ bodyBytes: 100 });
      expect(await large.accept(write({ body }))).toMatchObject({
        is: 'full',
        why: expect.stringMatching(/3000 bytes/),
      });
      const old = await fixture.reopen({ ageMs: 0 });
      await new Promise((resolve) => setTimeout(resolve, 5));
      await old.store.depth();
      expect(await old.accept(write())).toMatchObject({ is: 'full', why: expect.stringMatching(/waited/) });
    });

    test('a caller that has gone before it was written is not written', async () => {
      const gone = new AbortController();
      const answer = queue.accept(write({ key: 'gone' }), gone.signal);
      gone.abort();
      const is = await answer;
      // the abort may have come too late; it must not say "accepted" of what is not there, nor lose what is
      const { states } = await queue.status();
      if (is.is === 'accepted') expect(states.queued).toBe(1);
      else expect(is.is).toBe('unknown');
      expect(await queue.accept(write({ key: 'early' }), AbortSignal.abort())).toMatchObject({ is: 'unknown' });
      expect((await queue.status()).states.queued).toBe(is.is === 'accepted' ? 1 : states.queued);
    });

    // ── Order and claims ──────────────────────────────────────────────────────────────────────────────────────────

    test('gives a partition to one at a time, in the order of acceptance', async () => {
      const sent: string[] = [];
      for (let n = 0; n < 6; n++) sent.push(receiptOf(await queue.accept(write({ order: n % 2 ? 'odd' : 'even' }))));
      const second = await fixture.reopen();
      const one = await taken();
      const two = await taken(second);
      expect(new Set([one.intent.order, two.intent.order])).toEqual(new Set(['even', 'odd']));
      expect(await queue.store.take(OWNER, LEASE)).toMatchObject({ is: 'later' });
      const seen: string[] = [one.intent.receipt, two.intent.receipt];
      for (const { claim, intent } of [one, two]) {
        let current = intent;
        for (;;) {
          const settled = await queue.store.settle(claim, current.receipt, applied);
          if (settled.is !== 'settled') throw new Error('fenced');
          if (!settled.more) break;
          const next = await queue.store.next(claim, LEASE);
          if (next.is !== 'taken') throw new Error(next.is);
          current = next.intent;
          seen.push(current.receipt);
        }
      }
      const of = (order: string, list: string[]) =>
        list.filter((each) => (sent.indexOf(each) % 2 ? 'odd' : 'even') === order);
      for (const order of ['odd', 'even']) expect(of(order, seen)).toEqual(of(order, sent));
      expect(await queue.store.take(OWNER, LEASE)).toEqual({ is: 'empty' });
    });

    test('writes without an order wait for nobody', async () => {
      await Promise.all(Array.from({ length: 5 }, () => queue.accept(write())));
      const claims = await Promise.all(Array.from({ length: 5 }, () => taken()));
      expect(new Set(claims.map(({ intent }) => intent.receipt)).size).toBe(5);
      expect(new Set(claims.map(({ claim }) => claim.partition)).size).toBe(5);
      for (const { claim, intent } of claims)
        expect(await queue.store.settle(claim, intent.receipt, applied)).toEqual({ is: 'settled', more: false });
    });

    test('a lease that is over: somebody else has it, what was sent is unknown, and the old token changes nothing', async () => {
      const receipt = receiptOf(await queue.accept(write({ order: 'a' })));
      await queue.accept(write({ order: 'a' }));
      const second = await fixture.reopen();
      const first = await queue.store.take('killed', 1);
      if (first.is !== 'taken') throw new Error(first.is);
      await new Promise((resolve) => setTimeout(resolve, 15));
      const { claim, intent } = await taken(second);
      expect(intent).toMatchObject({ receipt, state: 'applying', unknown: true });
      expect(claim.token).toBeGreaterThan(first.claim.token);
      expect(await queue.store.settle(first.claim, receipt, applied)).toEqual({ is: 'fenced' });
      expect(await queue.store.next(first.claim, LEASE)).toEqual({ is: 'fenced' });
      expect(await queue.store.renew(first.claim, LEASE)).toBe(false);
      await queue.store.release(first.claim);
      expect((await queue.store.get(receipt))?.state).toBe('applying');
      expect(await second.store.renew(claim, LEASE)).toBe(true);
      expect(await second.store.settle(claim, receipt, applied)).toEqual({ is: 'settled', more: true });
      expect(await queue.store.get(receipt)).toMatchObject({
        state: 'applied',
        unknown: false,
        status: 201,
        attempts: 1,
      });
      // twice is once
      expect(await second.store.settle(claim, receipt, applied)).toEqual({ is: 'fenced' });
    });

    test('again, not before its time, and before its successors', async () => {
      const first = receiptOf(await queue.accept(write({ order: 'a' })));
      await queue.accept(write({ order: 'a' }));
      const one = await taken();
      await queue.store.settle(one.claim, first, { ...again, delayMs: 60_000, status: 503, reason: 'busy' });
      expect(await queue.store.get(first)).toMatchObject({ state: 'queued', attempts: 1, status: 503, reason: 'busy' });
      const later = await queue.store.take(OWNER, LEASE);
      expect(later).toMatchObject({ is: 'later' });
      if (later.is === 'later') expect(later.at - later.now).toBeGreaterThan(50_000);
      const other = receiptOf(await queue.accept(write({ order: 'b' })));
      const two = await taken();
      expect(two.intent.receipt).toBe(other);
      await queue.store.settle(two.claim, other, { ...again, unknown: true });
      expect(await queue.store.get(other)).toMatchObject({ state: 'queued', unknown: true });
      expect((await queue.list({ unknown: true })).intents.map(({ receipt }) => receipt)).toEqual([other]);
      const three = await taken();
      expect(three.intent).toMatchObject({ receipt: other, unknown: true, attempts: 1 });
    });

    test('given back, what was marked is queued as before', async () => {
      const receipt = receiptOf(await queue.accept(write({ order: 'a' })));
      const { claim } = await taken();
      await queue.store.release(claim);
      expect(await queue.store.get(receipt)).toMatchObject({ state: 'queued', unknown: false, attempts: 0 });
      expect((await taken()).intent).toMatchObject({ receipt, unknown: false });
    });

    test('a body is erased with the record that it was applied, and not before', async () => {
      const receipt = receiptOf(await queue.accept(write()));
      const { claim, intent } = await taken();
      expect(Buffer.from(intent.body ?? []).toString()).toBe('{"text":"one"}');
      await queue.store.settle(claim, receipt, applied);
      expect(await queue.show(receipt, { body: true })).toMatchObject({ state: 'applied', body: null, body_bytes: 14 });
    });

    // ── What the guard asks ───────────────────────────────────────────────────────────────────────────────────────

    test('says which surfaces and partitions are busy', async () => {
      expect(queue.pending('notes')).toBe(false);
      expect(await queue.busy('notes', 't1', 'a')).toBe(false);
      const receipt = receiptOf(await queue.accept(write({ order: 'a' })));
      expect(queue.pending('notes')).toBe(true);
      expect(queue.pending('tags')).toBe(false);
      expect(queue.depth()).toMatchObject({ queued: 1 });
      const second = await fixture.reopen();
      expect(second.pending('notes')).toBe(true);
      expect(await second.busy('notes', 't1', 'a')).toBe(true);
      expect(await second.busy('notes', 't1', 'b')).toBe(false);
      expect(await second.busy('notes', 't2', 'a')).toBe(false);
      const { claim } = await taken();
      expect(await queue.receipt(receipt)).toMatchObject({ state: 'applying' });
      expect(await second.busy('notes', 't1', 'a')).toBe(true);
      await queue.store.settle(claim, receipt, applied);
      expect(await second.busy('notes', 't1', 'a')).toBe(false);
    });

    test('what another process accepted is known within moments', async () => {
      const second = await fixture.reopen();
      await queue.accept(write());
      const began = Date.now();
      while (!second.pending('notes') && Date.now() - began < 5_000)
        await new Promise((resolve) => setTimeout(resolve, 50));
      expect(second.pending('notes')).toBe(true);
      expect(second.depth().queued).toBe(1);
      expect(second.depth().oldestMs).toBeGreaterThanOrEqual(0);
    });

    // ── Holds ─────────────────────────────────────────────────────────────────────────────────────────────────────

    test('while it is held nothing is given out, and what is under way can end', async () => {
      const receipt = receiptOf(await queue.accept(write({ order: 'a' })));
      await queue.accept(write({ order: 'a' }));
      const { claim } = await taken();
      const second = await fixture.reopen();
      await second.hold('w-2', 'a window opens');
      await second.hold('w-3', 'another');
      expect(await queue.store.take(OWNER, LEASE)).toMatchObject({ is: 'held' });
      expect(await queue.store.settle(claim, receipt, applied)).toEqual({ is: 'settled', more: true });
      const next = await queue.store.next(claim, LEASE);
      expect(next).toMatchObject({
        is: 'held',
        holds: [{ window: 'w-2', reason: 'a window opens' }, { window: 'w-3' }],
      });
      await queue.store.release(claim);
      expect(await second.unhold('w-2')).toBe(true);
      expect(await second.unhold('w-2')).toBe(false);
      expect(await queue.store.take(OWNER, LEASE)).toMatchObject({ is: 'held' });
      await second.unhold('w-3');
      expect((await queue.status()).holds).toEqual([]);
      await taken();
    });

    test('who finds out at the last moment that it must not write holds nothing and releases nothing', async () => {
      const asleep = () => {
        throw new Error('this machine has slept');
      };
      await expect(queue.hold('w-2', 'a window opens', asleep)).rejects.toThrow('has slept');
      expect((await queue.status()).holds).toEqual([]);
      await queue.hold('w-2', 'a window opens', () => {});
      await expect(queue.unhold('w-2', asleep)).rejects.toThrow('has slept');
      expect((await queue.status()).holds).toMatchObject([{ window: 'w-2' }]);
      expect(await queue.unhold('w-2', () => {})).toBe(true);
    });

    // ── Dead letters, and what people do ──────────────────────────────────────────────────────────────────────────

    test('a parked dead letter stops its partition until it is dropped or requeued', async () => {
      const first = receiptOf(await queue.accept(write({ order: 'a' })));
      const second = receiptOf(await queue.accept(write({ order: 'a' })));
      const one = await taken();
      await queue.store.settle(one.claim, first, { is: 'dead', status: 422, reason: 'no such note', park: true });
      expect(await queue.store.take(OWNER, LEASE)).toEqual({ is: 'empty' });
      expect(await queue.busy('notes', 't1', 'a')).toBe(true);
      expect((await queue.status()).parked).toEqual({ partitions: 1, waiting: 1 });
      expect((await queue.list({ parked: true })).intents).toMatchObject([{ receipt: first, reason: 'no such note' }]);
      expect(await queue.receipt(first)).toMatchObject({ state: 'dead', status: 422, reason: 'no such note' });

      expect(await queue.requeue({ receipts: [first] }, 'ana', 'fixed')).toEqual({ moved: [first], refused: [] });
      const two = await taken();
      expect(two.intent).toMatchObject({ receipt: first, attempts: 0 });
      await queue.store.settle(two.claim, first, { is: 'dead', status: 422, reason: 'still no', park: true });
      expect(await queue.drop({ receipts: [first] }, 'ana', 'not wanted')).toMatchObject({ moved: [first] });
      expect((await taken()).intent.receipt).toBe(second);
      expect(await queue.show(first)).toMatchObject({
        state: 'dropped',
        reason: 'not wanted',
        moves: [
          { by: 'ana', from: 'dead', to: 'queued', reason: 'fixed' },
          { by: 'ana', from: 'dead', to: 'dropped', reason: 'not wanted' },
        ],
      });
    });

    test('a skipped dead letter stops nobody', async () => {
      const first = receiptOf(await queue.accept(write({ order: 'a' })));
      await queue.accept(write({ order: 'a' }));
      const { claim } = await taken();
      const dead = { is: 'dead', status: 400, reason: 'bad', park: false } as const;
      expect(await queue.store.settle(claim, first, dead)).toEqual({ is: 'settled', more: true });
      const next = await queue.store.next(claim, LEASE);
      if (next.is !== 'taken') throw new Error(next.is);
      expect(await queue.store.settle(claim, next.intent.receipt, applied)).toEqual({ is: 'settled', more: false });
      expect(await queue.busy('notes', 't1', 'a')).toBe(false);
      expect((await queue.store.depth()).busy.has('notes')).toBe(false);
      expect((await queue.status()).states).toMatchObject({ dead: 1, applied: 1 });
      // a person wants it after all
      await queue.requeue({ receipts: [first] }, 'ana', 'now');
      expect((await taken()).intent.receipt).toBe(first);
    });

    test('refuses to move what cannot be moved, and says why', async () => {
      const receipts: string[] = [];
      for (let n = 0; n < 3; n++) receipts.push(receiptOf(await queue.accept(write())));
      // of writes without an order that came in one millisecond, whichever comes first
      const first = await taken();
      const one = first.intent.receipt;
      await queue.store.settle(first.claim, one, applied);
      const two = (await taken()).intent.receipt;
      const [three = ''] = receipts.filter((receipt) => receipt !== one && receipt !== two);
      const none = 'B'.repeat(22);
      const result = await queue.drop({ receipts: [one, two, none, three, three] }, 'ana', 'x');
      expect(result).toEqual({
        moved: [three],
        refused: [
          { receipt: one, why: 'it was applied' },
          { receipt: two, why: 'it is being applied at this moment' },
          { receipt: none, why: 'there is no such receipt' },
        ],
      });
      expect((await queue.drop({ receipts: [three] }, 'ana', 'x')).refused).toHaveLength(1);
      expect((await queue.requeue({ receipts: [three] }, 'ana', 'after all')).moved).toEqual([three]);
      expect((await queue.requeue({ receipts: [three] }, 'ana', 'x')).refused).toEqual([
        { receipt: three, why: 'it is queued already' },
      ]);
    });

    test('an unknown outcome is settled by whoever looked', async () => {
      const receipt = receiptOf(await queue.accept(write()));
      const { claim } = await taken();
      await queue.store.settle(claim, receipt, { ...again, unknown: true });
      expect((await queue.requeue({ receipts: [receipt] }, 'ana', 'it was not there')).moved).toEqual([receipt]);
      expect(await queue.show(receipt)).toMatchObject({ state: 'queued', unknown: false });
    });

    test('lists, pages and exports in the order of acceptance', async () => {
      const receipts: string[] = [];
      for (let n = 0; n < 7; n++)
        receipts.push(
          receiptOf(
            await queue.accept(write({ surface: n < 4 ? 'notes' : 'tags', body: Buffer.from(`the body of ${n}`) })),
          ),
        );
      const page = await queue.list({ limit: 3 });
      expect(page.intents.map(({ receipt }) => receipt)).toEqual(receipts.slice(0, 3));
      const rest = await queue.list({ limit: 4, after: page.next ?? '' });
      expect(rest.intents.map(({ receipt }) => receipt)).toEqual(receipts.slice(3));
      expect(rest.next).toBeNull();
      expect(JSON.stringify(page)).not.toContain('the body of');
      expect((await queue.list({ surface: 'tags' })).intents).toHaveLength(3);
      expect((await queue.list({ window: 'w-9' })).intents).toHaveLength(0);
      expect((await queue.list({ before: new Date(0) })).intents).toHaveLength(0);
      await expect(queue.list({ after: 'x' })).rejects.toMatchObject({ code: 'QUEUE_OPTIONS' });
      await expect(queue.list({ limit: 0 })).rejects.toMatchObject({ code: 'QUEUE_OPTIONS' });
      const exported = [];
      for await (const each of queue.export({ surface: 'notes' }, { bodies: true })) exported.push(each);
      expect(exported.map(({ body }) => body)).toEqual(
        [0, 1, 2, 3].map((n) => ({ encoding: 'utf8', data: `the body of ${n}` })),
      );
      expect(exported[0]?.target).toBe('/notes?draft=1');
    });

    test('moves a whole selection, page by page', async () => {
      await Promise.all(
        Array.from({ length: 230 }, (_, n) => queue.accept(write({ surface: n % 2 ? 'notes' : 'tags' }))),
      );
      const dropped = await queue.drop({ all: { surface: 'tags', states: ['queued'] } }, 'ana', 'not wanted');
      expect(dropped).toMatchObject({ refused: [] });
      expect(dropped.moved).toHaveLength(115);
      expect((await queue.status()).surfaces).toMatchObject([
        { surface: 'notes', queued: 115 },
        { surface: 'tags', queued: 0, dropped: 115 },
      ]);
    });

    test('keeps keys as long as callers may retry, and forgets them then', async () => {
      const receipts = [];
      for (let n = 0; n < 4; n++) receipts.push(receiptOf(await queue.accept(write({ key: `r${n}` }))));
      const one = await taken();
      await queue.store.settle(one.claim, one.intent.receipt, applied);
      const two = await taken();
      await queue.store.settle(two.claim, two.intent.receipt, { is: 'dead', status: 400, reason: 'x', park: true });
      const three = await taken();
      await queue.store.release(three.claim);
      await queue.drop({ receipts: [three.intent.receipt] }, 'ana', 'x');
      expect(await queue.store.purge(Date.now() - 60_000, 100)).toBe(0);
      expect(await queue.store.purge(Date.now() + 60_000, 1)).toBe(1);
      expect(await queue.store.purge(Date.now() + 60_000, 100)).toBe(1);
      // what waits and what is dead stays
      expect((await queue.status()).states).toEqual({ queued: 1, applying: 0, applied: 0, dead: 1, dropped: 0 });
      expect(await queue.receipt(one.intent.receipt)).toBeNull();
    });

    // ── Load ──────────────────────────────────────────────────────────────────────────────────────────────────────

    test('many at once, from two processes: all there, in order per partition', async () => {
      const second = await fixture.reopen();
      const order = (n: number) => `p${n % 7}`;
      const sent = new Map<string, string[]>();
      // one after the other within a partition, for that is what order is about
      await Promise.all(
        Array.from({ length: 7 }, async (_, part) => {
          for (let n = 0; n < 40; n++) {
            const at = (part + n) % 2 ? queue : second;
            const receipt = receiptOf(await at.accept(write({ order: order(part), key: `${part}-${n}` })));
            sent.set(order(part), [...(sent.get(order(part)) ?? []), receipt]);
          }
        }),
      );
      for (const [name, receipts] of sent) {
        const rows = await queue.store.list({
          limit: 1000,
          partition: newIntent(write({ order: name })).partition,
        });
        expect(rows.map(({ receipt }) => receipt)).toEqual(receipts);
      }
      expect((await queue.status()).states.queued).toBe(280);
    });

    test('one leads: others are told, what a former leader had claimed is free, and its own outcome is known by the token', async () => {
      const other = await fixture.reopen();
      receiptOf(await queue.accept(write()));
      expect(await queue.store.lead('a', LEASE)).toEqual({ is: 'ours' });
      const { is, ...led } = (await other.store.lead('b', LEASE)) as Extract<Led, { is: 'theirs' }>;
      expect([is, led.owner, led.until - led.since]).toEqual(['theirs', 'a', LEASE]);
      const first = await queue.store.take('a', LEASE);
      expect(await other.store.lead('b', LEASE, 'somebody')).toMatchObject({ is: 'theirs' });
      expect(await other.store.lead('b', LEASE, 'a')).toEqual({ is: 'ours' });
      expect(await queue.store.lead('a', LEASE)).toMatchObject({ is: 'theirs', owner: 'b' });
      const second = await other.store.take('b', LEASE);
      if (first.is !== 'taken' || second.is !== 'taken') throw new Error('not taken');
      expect(second.intent).toMatchObject({ receipt: first.intent.receipt, unknown: true });
      expect(await queue.store.settle(first.claim, first.intent.receipt, applied)).toEqual({ is: 'fenced' });
      expect(await other.store.settle(second.claim, second.intent.receipt, applied)).toMatchObject({ is: 'settled' });
      await queue.store.resign('a');
      expect(await queue.store.lead('a', LEASE)).toMatchObject({ is: 'theirs' });
      await other.store.resign('b');
      expect(await queue.store.lead('a', LEASE)).toEqual({ is: 'ours' });
      await other.close();
    });

    test('several workers: nothing twice, nothing out of order, two of one partition never at once', async () => {
      const second = await fixture.reopen();
      for (let n = 0; n < 120; n++) await queue.accept(write({ order: `p${n % 6}`, body: Buffer.from(String(n)) }));
      const seen: number[] = [];
      const open = new Set<string>();
      const worker = async (from: IntentQueue) => {
        for (;;) {
          const first = await from.store.take(OWNER, LEASE);
          if (first.is === 'empty') return;
          if (first.is !== 'taken') {
            await new Promise((resolve) => setTimeout(resolve, 2));
            continue;
          }
          let { intent } = first;
          for (;;) {
            if (open.has(intent.partition)) throw new Error('two of one partition at once');
            open.add(intent.partition);
            await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
            seen.push(Number(Buffer.from(intent.body ?? []).toString()));
            open.delete(intent.partition);
            const settled = await from.store.settle(first.claim, intent.receipt, applied);
            if (settled.is !== 'settled' || !settled.more) break;
            const next = await from.store.next(first.claim, LEASE);
            if (next.is !== 'taken') throw new Error(next.is);
            intent = next.intent;
          }
        }
      };
      await Promise.all([worker(queue), worker(second), worker(queue), worker(second)]);
      expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, n) => n));
      for (let part = 0; part < 6; part++) {
        const mine = seen.filter((n) => n % 6 === part);
        expect(mine).toEqual([...mine].sort((a, b) => a - b));
      }
    });

    test('after closing it answers, and stores nothing', async () => {
      closed = true;
      await queue.close();
      await queue.close();
      expect(await queue.accept(write())).toMatchObject({ is: 'full' });
      await expect(queue.receipt('A'.repeat(22))).rejects.toMatchObject({ code: 'QUEUE_CLOSED' });
    });

    test('what makes two writes the same has a fixed form: stored keys outlive a release', () => {
      const digest = createHash('sha256')
        .update('["write","POST","/notes?draft=1",null,"application/json",null]\n{"text":"one"}')
        .digest();
      expect(fingerprint(write())).toEqual(digest);
    });
  });
}
