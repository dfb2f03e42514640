// The JSON Schema that editors use, made from the same zod schemas that the loader uses. Draft 7: what the YAML language
// server reads best. It knows more than nothing and less than `maint runbook check`.
import { z } from 'zod';
import type { AnyPlugin } from '../engine/contract.ts';
import { EnvironmentFrame, RunbookFrame, StepFrame, StepOverride, SurfaceFrame, SurfacesFrame } from './frame.ts';
import type { Registry } from './load.ts';

export type JsonSchema = { [key: string]: unknown };

const VARIABLE = { $ref: '#/definitions/variable' };
/** marks of engine/secret.ts: they mean nothing to an editor */
const MARKS = ['secret', 'url', 'path', 'duration', 'spelled'];

/** The schema of a whole runbook, with the params of every plugin of the registry. */
export function runbookSchema(registry: Registry): JsonSchema {
  const definitions: Record<string, JsonSchema> = {
    variable: {
      type: 'string',
      pattern: '\\$\\{[^}]+\\}',
      description:
        'filled in from the environment or a file: ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}',
    },
  };
  const plugins = [...registry.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const plugin of plugins) {
    const { name, schema, definitions: inner } = paramsSchema(plugin);
    definitions[name] = schema;
    Object.assign(definitions, inner);
  }
  definitions.step = stepSchema(plugins, definitions);
  definitions.override = withoutMarks(frameSchema(StepOverride));
  definitions.environment = properties(frameSchema(EnvironmentFrame), {
    steps: { type: 'object', additionalProperties: { $ref: '#/definitions/override' }, description: 'by step id' },
  });
  const parallel: JsonSchema = {
    type: 'object',
    description: 'steps that go at once; one level',
    properties: { parallel: { type: 'array', minItems: 1, items: { $ref: '#/definitions/step' } } },
    required: ['parallel'],
    additionalProperties: false,
  };
  const root = properties(frameSchema(RunbookFrame), {
    steps: {
      type: 'array',
      minItems: 1,
      description: 'in this order at start; the order of the end is derived',
      // decided by the key, so that an editor names the problem and not "matches none of two"
      // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
      items: { if: { type: 'object', required: ['parallel'] }, then: parallel, else: { $ref: '#/definitions/step' } },
    },
    environments: {
      type: 'object',
      additionalProperties: { $ref: '#/definitions/environment' },
      description: 'what differs elsewhere, by environment',
    },
  });
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'a runbook of maint', ...root, definitions };
}

/** The schema of surfaces.yaml. What of a surface goes together is said by kind and disposition. */
export function surfacesSchema(): JsonSchema {
  const surface: JsonSchema = { ...frameSchema(SurfaceFrame), allOf: surfaceRules() };
  const root = properties(frameSchema(SurfacesFrame), {
    surfaces: { type: 'array', minItems: 1, description: 'every way to write', items: surface },
  });
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'the surfaces of a service', ...root };
}

function surfaceRules(): JsonSchema[] {
  const kind = (...kinds: string[]) => ({ properties: { kind: { enum: kinds } }, required: ['kind'] });
  const disposition = (...values: string[]) => ({
    properties: { disposition: { enum: values } },
    required: ['disposition'],
  });
  const no = (...keys: string[]) => Object.fromEntries(keys.map((key) => [key, false]));
  const match = (required: string[], absent: string[]) => ({
    properties: { match: { required, properties: no(...absent) } },
  });
  const rule = (when: JsonSchema, wanted: JsonSchema): JsonSchema =>
    // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
    ({ if: when, then: wanted });
  const byName = match(['names'], ['methods', 'path', 'operations']);
  return [
    rule(kind('http'), match(['methods', 'path'], ['names', 'operations'])),
    rule(kind('graphql'), match(['path'], ['names'])),
    rule(kind('vector', 'kv'), match([], ['operations'])),
    rule(kind('tool', 'job'), { properties: { ...byName.properties, ...no('canary', 'status') } }),
    rule(disposition('pass'), { properties: no('status', 'canary') }),
    rule(
      { not: disposition('buffer') },
      { properties: no('order', 'tenant', 'key', 'credential', 'keep_headers', 'not_credentials', 'max_bytes') },
    ),
    rule(disposition('buffer'), { properties: { credential: { const: 'service' }, purpose: false } }),
    rule({ not: disposition('drop') }, { properties: { status: { enum: [503, 423] } } }),
  ];
}

function stepSchema(plugins: readonly AnyPlugin[], definitions: Record<string, JsonSchema>): JsonSchema {
  const step = properties(frameSchema(StepFrame), {
    uses: {
      description: 'the plugin: family/backend',
      anyOf: plugins.map(({ name, summary }) => ({ const: name, description: summary })),
    },
  });
  const allOf = plugins.map((plugin): JsonSchema => {
    const required = definitions[definitionName(plugin)]?.required;
    const needed = Array.isArray(required) && required.length > 0;
    const forbidden: Record<string, boolean> = {};
    if (plugin.kind !== 'check' || !plugin.on.includes('soaking')) forbidden.on_bad = false;
    if (plugin.kind !== 'resource') Object.assign(forbidden, { release: false, pace: false });
    return {
      if: { properties: { uses: { const: plugin.name } }, required: ['uses'] },
      // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
      then: {
        properties: { with: { $ref: `#/definitions/${definitionName(plugin)}` }, ...forbidden },
        ...(needed ? { required: ['with'] } : {}),
      },
    };
  });
  return { ...step, allOf };
}

function definitionName(plugin: AnyPlugin): string {
  return `with.${plugin.name.replaceAll('/', '.')}`;
}

function paramsSchema(plugin: AnyPlugin): {
  name: string;
  schema: JsonSchema;
  definitions: Record<string, JsonSchema>;
} {
  const name = definitionName(plugin);
  const { $schema: _, definitions, ...schema } = toJson(plugin.Params);
  const inner = (definitions ?? {}) as Record<string, JsonSchema>;
  // a plugin's own definitions move to the root, under its name, and its references with them
  const adapt = (part: JsonSchema): JsonSchema =>
    withVariables(withoutMarks(moved(part, name) as JsonSchema)) as JsonSchema;
  return {
    name,
    schema: { description: plugin.summary, ...adapt(schema) },
    definitions: Object.fromEntries(Object.entries(inner).map(([key, part]) => [`${name}.${key}`, adapt(part)])),
  };
}

function toJson(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', target: 'draft-7', unrepresentable: 'any' }) as JsonSchema;
}

function frameSchema(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = toJson(schema);
  return withoutMarks(rest) as JsonSchema;
}

function properties(schema: JsonSchema, replaced: Record<string, JsonSchema>): JsonSchema {
  return { ...schema, properties: { ...(schema.properties as JsonSchema), ...replaced } };
}

function moved(part: unknown, name: string): unknown {
  if (Array.isArray(part)) return part.map((item) => moved(item, name));
  if (part === null || typeof part !== 'object') return part;
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => {
      if (key !== '$ref' || typeof value !== 'string') return [key, moved(value, name)];
      return [
        key,
        value === '#' ? `#/definitions/${name}` : value.replace(/^#\/(definitions|\$defs)\//, `#/definitions/${name}.`),
      ];
    }),
  );
}

const MAPS_OF_SCHEMAS = ['properties', 'patternProperties', 'definitions'];
const LISTS_OF_SCHEMAS = ['anyOf', 'allOf', 'oneOf', 'prefixItems'];
const SCHEMAS = ['items', 'additionalItems', 'additionalProperties', 'not', 'contains'];

/** Applies `change` to every schema inside of one, the innermost first. */
function mapSchemas(schema: unknown, change: (schema: JsonSchema) => JsonSchema): unknown {
  if (schema === null || typeof schema !== 'object' || Array.isArray(schema)) return schema;
  const mapped: JsonSchema = {};
  for (const [key, value] of Object.entries(schema)) {
    if (MAPS_OF_SCHEMAS.includes(key)) {
      mapped[key] = Object.fromEntries(
        Object.entries(value as JsonSchema).map(([name, part]) => [name, mapSchemas(part, change)]),
      );
    } else if (LISTS_OF_SCHEMAS.includes(key) || (key === 'items' && Array.isArray(value))) {
      mapped[key] = (value as unknown[]).map((part) => mapSchemas(part, change));
    } else mapped[key] = SCHEMAS.includes(key) ? mapSchemas(value, change) : value;
  }
  return change(mapped);
}

function withoutMarks(schema: JsonSchema): JsonSchema {
  return mapSchemas(schema, (part) =>
    Object.fromEntries(Object.entries(part).filter(([key]) => !MARKS.includes(key) || typeof part[key] !== 'boolean')),
  ) as JsonSchema;
}

const FREE_TEXT = new Set(['type', 'description', 'title', 'default', 'examples', 'minLength']);

/** Where a number, a yes/no or a text of a certain form is wanted, a variable may stand too. */
function withVariables(schema: JsonSchema): unknown {
  return mapSchemas(schema, (part) => {
    // a variable fits no form of a oneOf in particular
    if (Array.isArray(part.oneOf)) {
      const { oneOf, ...rest } = part;
      return { ...rest, anyOf: oneOf };
    }
    const { type } = part;
    const isScalar =
      typeof type === 'string' ? ['string', 'number', 'integer', 'boolean'].includes(type) : 'enum' in part;
    if (!isScalar || 'const' in part) return part;
    if (type === 'string' && Object.keys(part).every((key) => FREE_TEXT.has(key))) return part;
    const { description, title, default: initial, ...rest } = part;
    return {
      ...(title === undefined ? {} : { title }),
      ...(description === undefined ? {} : { description }),
      ...(initial === undefined ? {} : { default: initial }),
      anyOf: [rest, VARIABLE],
    };
  });
}
