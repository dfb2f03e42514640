// What a service sees when a window ends and everybody comes back: callers with the client's default settings, in
// virtual time. `node -C maint-source test/docs/clients-return.ts --write` puts the curve into docs/clients.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBudget, createFetch } from '../../packages/client/src/index.ts';
import { seeded, VirtualTime } from '../support/virtual-time.ts';

export interface Return {
  /** Seconds after the window's end at which each caller had its answer. */
  readonly back: readonly number[];
  /** Why the others gave up. */
  readonly lost: readonly string[];
  /** Requests while the window was open. */
  readonly refused: number;
}

/** All call at once, in one process, so many seconds before the window ends. */
export async function waitOut({ callers = 200, seconds = 30 } = {}): Promise<Return> {
  using time = new VirtualTime();
  const end = time.now + seconds * 1000;
  let refused = 0;
  const again = createFetch({
    budget: createBudget(),
    random: seeded(1),
    async fetch() {
      if (time.now >= end) return new Response('done');
      refused += 1;
      return new Response('', { status: 503, headers: { 'retry-after': String(Math.ceil((end - time.now) / 1000)) } });
    },
  });
  const back: number[] = [];
  const lost: string[] = [];
  const calls = Array.from({ length: callers }, () =>
    again('http://api.example/notes', { method: 'POST', body: 'x' }).then(
      () => back.push((time.now - end) / 1000),
      (error: { code?: string }) => lost.push(String(error.code)),
    ),
  );
  await time.until(Promise.all(calls));
  return { back, lost, refused };
}

const STEP_SECONDS = 3;
const WIDTH = 50;

/** How many are back, by the second. */
export function plot({ back }: Return, callers: number): string {
  const rows: string[] = [];
  for (let at = 0; at === 0 || back.some((each) => each > at - STEP_SECONDS); at += STEP_SECONDS) {
    const count = back.filter((each) => each <= at).length;
    rows.push(
      `${String(at).padStart(4)} s ${String(count).padStart(4)} ${'█'.repeat(Math.round((count / callers) * WIDTH))}`.trimEnd(),
    );
  }
  return ['```text', ...rows, '```'].join('\n');
}

const DOCUMENT = fileURLToPath(new URL('../../docs/clients.md', import.meta.url));
export const CURVE = /(<!-- return -->\n)(.*?)(\n<!-- \/return -->)/s;

if (import.meta.filename === process.argv[1]) {
  const text = plot(await waitOut(), 200);
  console.log(text);
  if (process.argv.includes('--write')) {
    writeFileSync(
      DOCUMENT,
      readFileSync(DOCUMENT, 'utf8').replace(CURVE, (_, from, _old, to) => from + text + to),
    );
  }
}
