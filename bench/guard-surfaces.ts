import type { Surface } from '../packages/guard/src/index.ts';

/** As many as a service of middle size names, of the kinds that are matched by path. */
export const SURFACES: readonly Surface[] = [
  { name: 'items', match: { methods: ['POST', 'PUT', 'DELETE'], path: '/items/:id?' } },
  { name: 'orders', match: { path: '/orders/:id?' }, status: 423 },
  { name: 'comments', match: { path: '/items/:id/comments/:comment?' } },
  { name: 'uploads', match: { path: '/uploads/*' } },
  { name: 'admin', match: { path: '/admin/*' } },
  { name: 'search', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
  { name: 'login', match: { methods: ['POST'], path: '/login' }, disposition: 'pass' },
  { name: 'seen', match: { methods: ['POST'], path: '/seen' }, disposition: 'drop', status: 204 },
];
