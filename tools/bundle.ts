// What is bundled, and how: the build writes it, NOTICE names what it holds.
import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { InputOptions, OutputChunk, OutputOptions, Plugin } from 'rolldown';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * `import … from 'node:http'` reads every export of that module once, the lazy ones too: of http that loads all of
 * undici, of fs the streams. Taken as plain objects they cost what is used of them.
 */
const builtins: Plugin = {
  name: 'builtins',
  // rolldown's own runtime imports node:module
  resolveId: (id) => (isBuiltin(id) && !/^(node:)?module$/.test(id) ? `\0builtin:${id}` : undefined),
  load(id) {
    if (!id.startsWith('\0builtin:')) return undefined;
    return `module.exports = process.getBuiltinModule(${JSON.stringify(id.slice('\0builtin:'.length))});`;
  },
};

/** Without schemas, YAML, a database or a terminal's list. */
const CORE =
  /\/src\/(errors|commands|main\.ts|app\/(?!backfill)|engine\/(?!secret)|store\/(index|looking)\.ts|ui\/(?!terminal|steps|completion|rehearsal|queue-backfill))/;

export const INPUT: InputOptions = {
  cwd: ROOT,
  input: { main: 'src/main.ts', commands: 'src/commands/index.ts' },
  platform: 'node',
  plugins: [builtins],
  // Native or large, and loaded only by the command that needs it: left where npm put them.
  external: [/^@oclif\/plugin-/, 'pg-native'],
  resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
  checks: { ineffectiveDynamicImport: false },
  logLevel: 'warn',
};

export const OUTPUT: OutputOptions = {
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name]-[hash].js',
  // names stay: they are what a report of a bug shows
  minify: { compress: true, mangle: false, codegen: true },
  // What a verb loads is loaded together, in few files: each costs a look-up and a check of the compile cache.
  codeSplitting: {
    groups: [
      { name: 'core', test: CORE, priority: 3 },
      { name: 'runbook', test: /\/src\/(runbook|steps)\/|\/src\/engine\/secret\.ts$/, priority: 2 },
      { name: 'clients', test: /\/src\/clients\//, priority: 1 },
    ],
  },
  sourcemap: false,
};

/** The folders of the packages whose code is in these chunks, sorted. */
export function packagesIn(output: readonly (OutputChunk | { type: 'asset' })[]): string[] {
  const folders = new Set<string>();
  for (const chunk of output) {
    if (chunk.type !== 'chunk') continue;
    for (const id of chunk.moduleIds) {
      const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id.replaceAll('\\', '/'))?.[0];
      if (folder) folders.add(folder);
      // rolldown's own runtime is in no folder of its own
      else if (id.includes('rolldown/runtime')) folders.add(`${ROOT}node_modules/rolldown`);
    }
  }
  return [...folders].sort();
}
