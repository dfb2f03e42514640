// The conformance suite over every registered plugin. A plugin without a fixture fails here, and a fixture without its
// plugin too: test/contract/fixtures/<family>-<backend>.ts exports `fixtures`.
import { readdirSync } from 'node:fs';
import { afterAll, expect, test } from '@jest/globals';
import type { AnyPlugin } from '../../src/engine/contract.ts';
import { registry } from '../../src/steps/index.ts';
import { conforms, type Fixture, leaks, tally } from './conformance.ts';

const FIXTURES = new URL('./fixtures/', import.meta.url);
const STEPS = new URL('../../src/steps/', import.meta.url);

const fixtures: Fixture[] = [];
const files = readdirSync(FIXTURES).filter((file) => file.endsWith('.ts'));
for (const file of files) {
  const { fixtures: exported } = (await import(new URL(file, FIXTURES).href)) as { fixtures: readonly Fixture[] };
  fixtures.push(...exported);
}
const fileOf = (name: string) => `${name.replace('/', '-')}.ts`;

test('every registered plugin has its fixture, and every fixture its plugin', () => {
  expect(files.toSorted()).toEqual([...registry.keys()].map(fileOf).toSorted());
  for (const { plugin, kind } of fixtures) expect(`${plugin} ${registry.get(plugin)?.kind}`).toBe(`${plugin} ${kind}`);
  expect([...new Set(fixtures.map(({ plugin }) => plugin))].toSorted()).toEqual([...registry.keys()].toSorted());
});

test('the registry holds what the folders hold, by the names of folder and file', async () => {
  const found = new Map<string, AnyPlugin>();
  for (const family of readdirSync(STEPS, { withFileTypes: true })) {
    if (!family.isDirectory()) continue;
    for (const file of readdirSync(new URL(`${family.name}/`, STEPS)).filter((name) => name.endsWith('.ts'))) {
      const module = (await import(new URL(`${family.name}/${file}`, STEPS).href)) as Record<string, unknown>;
      const backend = file.replace(/\.ts$/, '');
      for (const exported of Object.values(module)) {
        if (!isPlugin(exported)) continue;
        expect(exported.name).toBe(backend === family.name ? backend : `${family.name}/${backend}`);
        found.set(exported.name, exported);
      }
    }
  }
  expect([...registry.keys()].toSorted()).toEqual([...found.keys()].toSorted());
  for (const [name, plugin] of registry) expect(plugin).toBe(found.get(name));
  expect([...registry.keys()]).toEqual([...registry.keys()].toSorted());
});

function isPlugin(exported: unknown): exported is AnyPlugin {
  const { kind, name, Params } = (exported ?? {}) as Partial<AnyPlugin>;
  return ['resource', 'action', 'check'].includes(String(kind)) && name !== undefined && Params !== undefined;
}

test('the search for secrets finds them as they are, in URLs and within base64', () => {
  const secret = 'pl@nted/secret';
  const basic = `Basic ${Buffer.from(`ana:${secret}`).toString('base64')}`;
  expect(leaks([`x ${secret}`, `redis://u:${encodeURIComponent(secret)}@h`, basic, 'nothing'], [secret])).toHaveLength(
    3,
  );
});

for (const fixture of fixtures) {
  const plugin = registry.get(fixture.plugin);
  if (plugin) conforms(plugin, fixture);
}

afterAll(() => {
  process.stderr.write(
    `conformance: ${registry.size} plugins in ${tally.plugins} worlds, killed at ${tally.points} points in ${tally.runs} runs\n`,
  );
});
