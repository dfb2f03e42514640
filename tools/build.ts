// Builds what is published and what the tests of the command line run: one bundle with its chunks, and the guard.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));

rmSync(`${root}dist`, { recursive: true, force: true });
await build({
  cwd: root,
  input: { main: 'src/main.ts', commands: 'src/commands/index.ts' },
  platform: 'node',
  // Native or large, and loaded only by the command that needs it: left where npm put them.
  external: [/^@oclif\/plugin-/, 'pg-native'],
  resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
  output: {
    dir: 'dist',
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name]-[hash].js',
    minify: false,
    sourcemap: false,
  },
  logLevel: 'warn',
});
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}packages/guard`], {
  stdio: 'inherit',
});
