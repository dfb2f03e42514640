// Holds the stand-ins against the services' own descriptions, where these are at hand.
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { COMMON_ERRORS, METHODS, startChat } from '../../examples/services/chat.ts';
import { OPERATIONS, type Statuspage, startStatuspage } from '../../examples/services/statuspage.ts';
import type { Field } from '../../examples/services/strict.ts';

const descriptions = new URL('../../../shared/contracts/', import.meta.url);
const here = existsSync(new URL('statuspage/statuspage.openapi.json', descriptions));
const load = (path: string): any => (here ? JSON.parse(readFileSync(new URL(path, descriptions), 'utf8')) : {});

if (!here) test.skip('not compared: no descriptions here', () => {});

(here ? describe : describe.skip)('statuspage', () => {
  const api = load('statuspage/statuspage.openapi.json');
  const schemaOf = (operation: any) => {
    const { $ref } = operation.requestBody.content['application/json'].schema;
    return api.components.schemas[$ref.split('/').at(-1)];
  };

  for (const [name, { wrapper, fields, required, query, success }] of Object.entries(OPERATIONS)) {
    test(name, () => {
      const [verb = '', path = ''] = name.split(' ');
      const operation = api.paths[path]?.[verb.toLowerCase()];
      expect(operation).toBeDefined();
      expect(Object.keys(operation.responses)).toContain(String(success));
      const described = operation.parameters.filter((one: any) => one.in === 'query').map((one: any) => one.name);
      expect(Object.keys(query ?? {}).sort()).toEqual(described.sort());
      expect(wrapper !== undefined).toBe(operation.requestBody !== undefined);
      if (!wrapper || !fields) return;
      const schema = schemaOf(operation);
      expect(Object.keys(schema.properties)).toEqual([wrapper]);
      const { properties, required: needed = [] } = schema.properties[wrapper];
      expect(Object.keys(fields).sort()).toEqual(Object.keys(properties).sort());
      expect([...(required ?? [])].sort()).toEqual([...needed].sort());
      for (const [field, ours] of Object.entries(fields))
        expect([field, ourShape(ours)]).toEqual([field, theirShape(properties[field])]);
    });
  }

  test('what it leaves out is what a maintenance does not need', () => {
    const ours = Object.keys(OPERATIONS);
    const theirs = Object.entries(api.paths).flatMap(([path, verbs]) =>
      Object.keys(verbs as object).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    const pages = theirs.filter((name) => /incidents|components|pages\/\{page_id\}$/.test(name));
    expect(pages.filter((name) => !ours.includes(name))).toEqual([]);
  });

  function ourShape({ type, enum: values }: Field): unknown {
    if (type === 'map') return { type: 'object', enum: values };
    const json = { strings: 'array', time: 'string', date: 'string' }[type as string] ?? type;
    return {
      type: json,
      enum: values,
      ...(type === 'time' && { format: 'date-time' }),
      ...(type === 'date' && { format: 'date' }),
    };
  }
  function theirShape({ type, enum: values, format, properties, items }: any): unknown {
    // the one property of the map has a sample id as its name
    if (properties) return { type, enum: (Object.values(properties)[0] as any).enum };
    if (items) expect(items.type).toBe('string');
    return { type, enum: values, ...(format && { format }) };
  }

  describe('answers', () => {
    let page: Statuspage;
    beforeAll(async () => {
      page = await startStatuspage({ token: 'key', page: 'p1', components: ['API'] });
    });
    afterAll(() => page.stop());

    test('have the described shape', async () => {
      const schemas = JSON.parse(JSON.stringify(api.components.schemas).replaceAll('"Object"', '"object"'));
      const ajv = new Ajv({ strict: false, validateFormats: false });
      ajv.addSchema({ $id: 'api', components: { schemas } });
      const valid = (schema: string, value: unknown) => {
        const check = ajv.compile(strictly(schemas[schema]));
        if (!check(withoutNulls(value))) throw new Error(`${schema}: ${JSON.stringify(check.errors)}`);
      };
      const call = async (method: string, path: string, body?: unknown) => {
        const response = await fetch(`${page.url}/v1/pages/p1${path}`, {
          method,
          headers: { authorization: 'OAuth key', 'content-type': 'application/json' },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        return response.json() as any;
      };
      const created = await call('POST', '/incidents', {
        incident: { name: 'x', body: 'y', scheduled_for: '2026-01-01T00:00:00Z' },
      });
      valid('Incident', created);
      valid('IncidentUpdate', created.incident_updates[0]);
      valid('Page', await call('GET', ''));
      valid('Component', (await call('GET', '/components'))[0]);
      valid('ErrorEntity', await call('GET', '/incidents/nope'));
      expect(page.violations()).toEqual([]);

      function strictly(schema: any): any {
        const properties = Object.fromEntries(
          Object.entries<any>(schema.properties).map(([key, one]) => [key, one.items?.$ref ? { type: 'array' } : one]),
        );
        return { ...schema, properties, additionalProperties: false };
      }
    });
  });
});

/** What is not set yet is null, which the description does not mention. */
function withoutNulls(value: any): any {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
}

(here ? describe : describe.skip)('slack', () => {
  const { methods } = load('slack/slack-methods.scraped.json');

  for (const [name, method] of Object.entries(METHODS)) {
    test(name, () => {
      const described = methods[name];
      expect(described).toBeDefined();
      const { properties, required } = described.args;
      expect(Object.keys(method.args).sort()).toEqual(Object.keys(properties).sort());
      expect([...method.required].sort()).toEqual([...required].sort());
      expect(method.tier).toBe(described.rate_limits);
      expect(method.json).toBe(described.json_input_supported === true);
      expect([...method.scopes].sort()).toEqual([...(described.scope.bot ?? [])].sort());
      const words = [...Object.keys(described.errors), ...COMMON_ERRORS, 'invalid_limit'];
      expect(method.errors.filter((word) => !words.includes(word))).toEqual([]);
      for (const [argument, type] of Object.entries(method.args)) {
        const { type: one, anyOf = [] } = properties[argument];
        const types = one ? [one] : anyOf.map((any: any) => any.type);
        expect([argument, types]).toEqual([argument, expect.arrayContaining([type === 'structure' ? 'string' : type])]);
      }
    });
  }
});

describe('they refuse and remember', () => {
  test('a status page', async () => {
    let now = Date.parse('2026-01-01T00:00:00Z');
    const page = await startStatuspage({ token: 'key', page: 'p1', components: ['API'], now: () => now, limit: 30 });
    const call = (method: string, path: string, body?: unknown, authorization = 'OAuth key') =>
      fetch(`${page.url}/v1/pages/p1${path}`, {
        method,
        headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    try {
      const scheduled_for = '2026-01-02T00:00:00Z';
      const bad: [string, string, unknown, number, string?][] = [
        ['GET', '/incident', undefined, 404],
        ['GET', '/incidents/scheduled?limit=1', undefined, 400],
        ['GET', '/components?per_page=101', undefined, 400],
        ['POST', '/incidents', { name: 'x' }, 422],
        ['POST', '/incidents', { incident: {} }, 422],
        ['POST', '/incidents', { incident: { name: 'x', status: 'resolved', scheduled_for } }, 422],
        ['POST', '/incidents', { incident: { name: 'x', status: 'in_progress' } }, 422],
        ['POST', '/incidents', { incident: { name: 'x', status: 'done' } }, 422],
        ['POST', '/incidents', { incident: { name: 'x'.repeat(256) } }, 422],
        ['POST', '/incidents', { incident: { name: 'x', metadata: { maint: 'w-1' } } }, 422],
        ['POST', '/incidents', { incident: { name: 'x', notify: true } }, 422],
        ['POST', '/incidents', { incident: { name: 'x', components: { c00000000001: 'down' } } }, 422],
        ['GET', '/incidents', undefined, 401, 'Bearer key'],
      ];
      for (const [method, path, body, status, authorization] of bad) {
        const before = page.violations().length;
        const response = await call(method, path, body, authorization);
        expect([path, body, response.status]).toEqual([path, body, status]);
        expect(Object.keys((await response.json()) as object)).toEqual(['message']);
        expect(page.violations().length).toBeGreaterThan(before);
      }
      const honest = page.violations().length;
      expect((await call('GET', '/incidents/i404')).status).toBe(404);
      expect((await call('GET', '', undefined, 'OAuth other')).status).toBe(401);
      expect(page.violations()).toHaveLength(honest);

      let last: Response | undefined;
      for (let n = 0; n < 31; n++) last = await call('GET', '');
      expect(last?.status).toBe(420);
      expect(Number(last?.headers.get('retry-after'))).toBe(60);
      now += 60_001;
      expect((await call('GET', '')).status).toBe(200);
    } finally {
      await page.stop();
    }
  });

  test('a chat', async () => {
    const chat = await startChat({
      token: 'xoxb',
      channels: ['ops', { name: 'far', member: false }],
      scopes: ['chat:write', 'channels:read'],
    });
    const call = async (method: string, args: Record<string, string>, token = 'xoxb') => {
      const response = await fetch(`${chat.url}/api/${method}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: new URLSearchParams(args),
      });
      return (await response.json()) as any;
    };
    try {
      expect(await call('auth.test', {}, 'other')).toEqual({ ok: false, error: 'invalid_auth' });
      expect(await call('chat.postMessage', { channel: '#nope', text: 'x' })).toMatchObject({
        error: 'channel_not_found',
      });
      expect(await call('chat.postMessage', { channel: '#far', text: 'x' })).toMatchObject({ error: 'not_in_channel' });
      expect(await call('chat.postMessage', { channel: '#ops' })).toMatchObject({ error: 'no_text' });
      expect(await call('chat.update', { channel: 'C00000001', ts: '1.000001', text: 'x' })).toMatchObject({
        error: 'message_not_found',
      });
      expect(await call('chat.update', { channel: 'C00000001', ts: chat.say('ops', 'hi'), text: 'x' })).toMatchObject({
        error: 'cant_update_message',
      });
      expect(await call('conversations.history', { channel: 'C00000001' })).toMatchObject({
        error: 'missing_scope',
        needed: expect.stringContaining('channels:history'),
      });
      expect(chat.violations()).toEqual([]);
      expect(await call('chat.post', {})).toMatchObject({ error: 'unknown_method' });
      expect(await call('chat.postMessage', { channel: '#ops', text: 'x', idempotency_key: 'k' })).toMatchObject({
        error: 'invalid_arguments',
      });
      expect(
        await call('chat.postMessage', { channel: '#ops', text: 'x', metadata: '{"event_type":"a"}' }),
      ).toMatchObject({ error: 'invalid_metadata_format' });
      expect(chat.violations()).toHaveLength(3);
      expect(await (await fetch(chat.url)).text()).toContain('#ops');
    } finally {
      await chat.stop();
    }
  });
});
