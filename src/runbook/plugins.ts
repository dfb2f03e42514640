// What there is to put into a runbook, from the plugins' own schemas: `maint steps` and docs/steps.md say the same.
import { Document, visit } from 'yaml';
import { z } from 'zod';
import type { AnyPlugin } from '../engine/contract.ts';
import { ROLES } from '../engine/roles.ts';
import { defaultId } from './rules.ts';

export interface PluginParam {
  name: string;
  type: string;
  required: boolean;
  /** as YAML takes it; absent: none */
  default?: string | undefined;
  secret: boolean;
  description: string;
}
export interface PluginInfo {
  name: string;
  /** what the step is called unless the runbook says so */
  id: string;
  summary: string;
  kind: 'resource' | 'action' | 'check';
  /** a resource's or an action's role, or `check` */
  role: string;
  /** when it is held, runs or looks, in words */
  when: string;
  /** what stays behind by design */
  leaves?: string | undefined;
  params: PluginParam[];
  /** a step of a runbook, as YAML */
  example: string;
}

interface Json {
  type?: string | string[];
  properties?: Record<string, Json>;
  required?: string[];
  items?: Json | Json[];
  anyOf?: Json[];
  oneOf?: Json[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  description?: string;
  secret?: boolean;
  url?: boolean;
  path?: boolean;
  duration?: boolean;
  additionalProperties?: Json | boolean;
}

export function describePlugin(plugin: AnyPlugin): PluginInfo {
  const schema = z.toJSONSchema(plugin.Params, { io: 'input', target: 'draft-7', unrepresentable: 'any' }) as Json;
  const role =
    plugin.kind === 'check' ? 'check' : plugin.kind === 'resource' && plugin.roleOf ? 'by its params' : plugin.role;
  return {
    name: plugin.name,
    id: defaultId(plugin),
    summary: plugin.summary,
    kind: plugin.kind,
    role,
    when: whenOf(plugin),
    leaves: plugin.kind === 'check' ? undefined : plugin.leaves,
    params: Object.entries(schema.properties ?? {}).map(([name, param]) => ({
      name,
      type: typeOf(param),
      required: (schema.required ?? []).includes(name),
      default: param.default === undefined ? undefined : JSON.stringify(param.default),
      secret: param.secret === true,
      description: param.description ?? '',
    })),
    example: exampleOf(plugin),
  };
}

function whenOf(plugin: AnyPlugin): string {
  if (plugin.kind === 'check') return `looks at: ${plugin.on.join(', ')}`;
  if (plugin.kind === 'action') return `runs at: ${plugin.on.join(', ')}`;
  if (plugin.roleOf) return 'held as its role says';
  return `held while: ${ROLES[plugin.role].held.join(', ')}`;
}

function exampleOf(plugin: AnyPlugin): string {
  const document = new Document([{ uses: plugin.name, with: plugin.example }]);
  visit(document, {
    // In a flow map, where people put it, a bare ${VAR} is no YAML.
    Scalar(_key, node) {
      if (typeof node.value === 'string' && node.value.includes('${')) node.type = 'QUOTE_DOUBLE';
    },
  });
  return document.toString({ lineWidth: 0 }).trimEnd();
}

function typeOf(schema: Json): string {
  if (schema.duration) return 'duration';
  if (schema.url) return 'url';
  if (schema.path) return 'path';
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const forms = schema.anyOf ?? schema.oneOf;
  if (forms) return [...new Set(forms.map(typeOf))].join(' or ');
  if (schema.type === 'array') {
    const items = Array.isArray(schema.items) ? schema.items[0] : schema.items;
    return `list of ${items ? typeOf(items) : 'anything'}`;
  }
  if (schema.type === 'object' && schema.properties) {
    const required = new Set(schema.required ?? []);
    const keys = Object.entries(schema.properties).map(
      ([key, value]) => `${key}${required.has(key) ? '' : '?'}: ${typeOf(value)}`,
    );
    return `{ ${keys.join(', ')} }`;
  }
  if (schema.type === 'object')
    return typeof schema.additionalProperties === 'object' ? `map of ${typeOf(schema.additionalProperties)}` : 'map';
  if (schema.type === 'string') return 'text';
  if (schema.type === 'boolean') return 'true or false';
  return Array.isArray(schema.type) ? schema.type.join(' or ') : (schema.type ?? 'anything');
}
