// Builds what is published and what the tests of the command line run: one bundle with its chunks, and the packages.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));

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

// Made aside and put in place whole: what runs or is copied meanwhile never sees half a build, or none when this one fails.
const aside = mkdtempSync(join(root, 'node_modules', '.maint-build-'));
process.once('exit', () => rmSync(aside, { recursive: true, force: true }));
const { output } = await build({
  cwd: root,
  input: { main: 'src/main.ts', commands: 'src/commands/index.ts' },
  platform: 'node',
  plugins: [builtins],
  // Native or large, and loaded only by the command that needs it: left where npm put them.
  external: [/^@oclif\/plugin-/, 'pg-native'],
  resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
  output: {
    dir: join(aside, 'new'),
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
  },
  checks: { ineffectiveDynamicImport: false },
  logLevel: 'warn',
});
// One static import too many, and every command loads it.
const core = output.find((chunk) => chunk.type === 'chunk' && chunk.name === 'core');
const heavy = (core?.type === 'chunk' ? core.moduleIds : []).filter((id) =>
  /node_modules\/(zod|yaml|kysely|listr2|axios|execa)\//.test(id),
);
if (!core || heavy.length > 0) throw new Error(`what every command loads holds ${heavy[0] ?? 'nothing'}`);
try {
  renameSync(`${root}dist`, join(aside, 'old'));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
renameSync(join(aside, 'new'), `${root}dist`);
for (const name of ['guard', 'intents', 'client'])
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}packages/${name}`], {
    stdio: 'inherit',
  });
