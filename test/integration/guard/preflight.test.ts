// A CORS layer behind the guard, and a handler of all methods behind both.
import { expect, test } from '@jest/globals';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { createGuard, type FlagSink } from '../../../packages/guard/src/index.ts';
import { holders } from '../../support/guarded.ts';

async function ask(options: { corsBehindGuard?: boolean }, layer: boolean) {
  let sink: FlagSink | undefined;
  const guard = createGuard({
    source: { start: (given) => void (sink = given), close() {} },
    surfaces: [{ name: 'run', match: { methods: ['GET'], path: '/jobs/:id/run' } }],
    log: () => {},
    ...options,
  });
  sink?.document(holders());
  let ran = 0;
  const app = new Hono();
  app.use(guard.hono());
  if (layer) app.use(cors({ origin: 'https://page.example' }));
  app.all('*', (c) => {
    ran += 1;
    return c.text('ran');
  });
  const headers = { Origin: 'https://page.example', 'Access-Control-Request-Method': 'GET' };
  const preflight = await app.request('/jobs/7/run', { method: 'OPTIONS', headers });
  const bare = await app.request('/jobs/7/run', { method: 'OPTIONS' });
  const ranFor = ran;
  const elsewhere = await app.request('/items', { method: 'OPTIONS', headers });
  await guard.close();
  const allowed = preflight.headers.get('access-control-allow-origin');
  return { preflight: preflight.status, allowed, bare: bare.status, ranFor, elsewhere: elsewhere.status };
}

test('a preflight that no CORS layer is known to answer is refused where a GET writes, and passes elsewhere', async () => {
  expect(await ask({}, false)).toEqual({ preflight: 503, allowed: null, bare: 503, ranFor: 0, elsewhere: 200 });
});

test('corsBehindGuard: the layer answers it, and nothing runs', async () => {
  const allowed = 'https://page.example';
  expect(await ask({ corsBehindGuard: true }, true)).toEqual({
    ...{ preflight: 204, allowed, bare: 503, ranFor: 0, elsewhere: 204 },
  });
});
