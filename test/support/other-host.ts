// node --import: this process says that it runs on the machine that MAINT_TEST_HOST names. Nobody there can look up the
// processes of another one, which is all that makes it another one.
import { createRequire, syncBuiltinESMExports } from 'node:module';

const os = createRequire(import.meta.url)('node:os') as typeof import('node:os');
const host = process.env['MAINT_TEST_HOST'];
if (host !== undefined) {
  os.hostname = () => host;
  syncBuiltinESMExports();
}
