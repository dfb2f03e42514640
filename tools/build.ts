// Builds what is published and what the tests of the command line run: one bundle with its chunks, and the packages.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'rolldown';
import { INPUT, OUTPUT, ROOT } from './bundle.ts';

// Made aside and put in place whole: what runs or is copied meanwhile never sees half a build, or none when this one fails.
const aside = mkdtempSync(join(ROOT, 'node_modules', '.maint-build-'));
process.once('exit', () => rmSync(aside, { recursive: true, force: true }));
const { output } = await build({ ...INPUT, output: { ...OUTPUT, dir: join(aside, 'new') } });
// One static import too many, and every command loads it.
const core = output.find((chunk) => chunk.type === 'chunk' && chunk.name === 'core');
const heavy = (core?.type === 'chunk' ? core.moduleIds : []).filter((id) =>
  /node_modules\/(zod|yaml|kysely|listr2|axios|execa)\//.test(id),
);
if (!core || heavy.length > 0) throw new Error(`what every command loads holds ${heavy[0] ?? 'nothing'}`);
try {
  renameSync(`${ROOT}dist`, join(aside, 'old'));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
renameSync(join(aside, 'new'), `${ROOT}dist`);
for (const name of ['guard', 'intents', 'client'])
  execFileSync(process.execPath, [`${ROOT}node_modules/typescript/bin/tsc`, '-p', `${ROOT}packages/${name}`], {
    stdio: 'inherit',
  });
