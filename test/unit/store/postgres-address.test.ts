import { userInfo } from 'node:os';
import { expect, test } from '@jest/globals';
import { openJournal } from '../../../src/store/index.ts';
import { isPostgres, postgresPlace } from '../../../src/store/postgres-address.ts';

const place = (state: string, env: Record<string, string> = { USER: 'ana' }) =>
  postgresPlace(state, 'MAINT_STATE', env);

test.each([
  [
    'postgres://db.internal/app',
    'postgres db.internal:5432/app schema maint',
    { user: 'ana', ssl: false, password: undefined },
  ],
  [
    'postgresql://ben:p%40ss@db:6543/app?schema=ops',
    'postgres db:6543/app schema ops',
    { user: 'ben', password: 'p@ss', port: 6543, schema: 'ops' },
  ],
  ['POSTGRES://db/app', 'postgres db:5432/app schema maint', {}],
  ['postgres:///app', 'postgres localhost:5432/app schema maint', {}],
  ['postgres://db', 'postgres db:5432/ana schema maint', { database: 'ana' }],
  ['postgres://db/', 'postgres db:5432/ana schema maint', { database: 'ana' }],
  ['postgres://[::1]:5433/app', 'postgres [::1]:5433/app schema maint', { host: '::1', port: 5433 }],
  [
    'postgres:///app?host=/run/postgresql',
    'postgres /run/postgresql:5432/app schema maint',
    { host: '/run/postgresql' },
  ],
  ['postgres://%2Frun%2Fpostgresql/app', 'postgres /run/postgresql:5432/app schema maint', { host: '/run/postgresql' }],
  [
    'postgres://db/my%20app?port=6000&user=eva',
    'postgres db:6000/my%20app schema maint',
    { database: 'my app', user: 'eva' },
  ],
  ['postgres://db/app?sslmode=require', 'postgres db:5432/app schema maint', { ssl: {} }],
  ['postgres://db/app?sslmode=verify-full&sslrootcert=system', 'postgres db:5432/app schema maint', { ssl: {} }],
  ['postgres://db/app?sslmode=no-verify', 'postgres db:5432/app schema maint', { ssl: { rejectUnauthorized: false } }],
  ['postgres://db/app?options=-c%20geqo%3Doff', 'postgres db:5432/app schema maint', { options: '-c geqo=off' }],
])('%s is %s', (state, address, more) => {
  expect(place(state)).toMatchObject({ address, ...more });
});

test('what the address leaves out comes from the environment', () => {
  const env = { PGHOST: 'db', PGPORT: '6000', PGUSER: 'ben', PGDATABASE: 'app', PGPASSWORD: 'x', PGSSLMODE: 'require' };
  expect(place('postgres://', env)).toMatchObject({
    address: 'postgres db:6000/app schema maint',
    user: 'ben',
    password: 'x',
    ssl: {},
  });
  expect(place('postgres://eva:y@other:1/b?sslmode=disable', env)).toMatchObject({
    address: 'postgres other:1/b schema maint',
    user: 'eva',
    password: 'y',
    ssl: false,
  });
  expect(place('postgres://db', {}).user).toBe(userInfo().username);
});

test.each([
  ['postgres:db/app', /two slashes/],
  ['postgres://ana:hunter2@a:1,b:2/app', /several hosts/],
  ['postgres://ana:hunter2@a,b/app', /several hosts/],
  ['postgres://ana:hunt#er2@db/app', /cannot be read|# that is not encoded/],
  ['postgres://ana:hunter2%@db/app', /badly encoded/],
  ['postgres://ana:hunter2@db:99999/app', /cannot be read/],
  ['postgres://ana:hunter2@/app?port=x', /cannot be read|no port/],
  ['postgres://db/app?port=0', /no port: 0/],
  ['postgres://db/app/more', /more than a database/],
  ['postgres://db/app?shema=x', /unknown parameter shema/],
  ['postgres://db/app?password=hunter2', /before the @/],
  ['postgres://db/app?schema=pg_catalog', /pg_catalog/],
  [`postgres://db/app?schema=${'x'.repeat(64)}`, /cannot use the schema/],
  ['postgres://db/app?sslmode=prefer', /sslmode=prefer, which goes on in plain text/],
  ['postgres://db/app?sslmode=yes', /sslmode=yes/],
  ['postgres://db/app?sslmode=require&sslrootcert=/nowhere', /cannot be read: .nowhere \(ENOENT\)/],
])('%s is refused, without its password', (state, words) => {
  expect.assertions(4);
  try {
    place(state);
  } catch (error) {
    expect(error).toMatchObject({ code: 'E_STATE', exit: 64, message: expect.stringMatching(words) });
    expect(error).toMatchObject({
      details: [expect.stringMatching(/^allowed: /)],
      next: [{ advice: expect.stringContaining('postgres://') }],
    });
    expect(JSON.stringify(error) + String(error)).not.toContain('hunt');
    expect((error as Error).message).toMatch(/^MAINT_STATE /);
  }
});

test('a password on the command line is refused: the list of processes is for everybody', () => {
  expect(() => postgresPlace('postgres://ana:hunter2@db/app', '--state', {})).toThrow('--state holds a password');
  expect(postgresPlace('postgres://ana@db/app', '--state', { PGPASSWORD: 'x' })).toMatchObject({ password: 'x' });
});

test('only addresses are: a path of that name is a path', async () => {
  expect(['postgres', './postgres:x', 'postgresq:', 'sqlite:postgres://x'].filter(isPostgres)).toEqual([]);
  // looking connects when it is asked, not before
  const look = await openJournal({ state: 'postgres://127.0.0.1:1/x', env: {}, write: false, version: '0.1.0' });
  expect(look).toMatchObject({ shared: true, address: 'postgres 127.0.0.1:1/x schema maint' });
  await expect(look.windows()).rejects.toMatchObject({ code: 'E_STATE' });
  await look.end();
});
