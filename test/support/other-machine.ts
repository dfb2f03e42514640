// node --import: a process that takes itself for one on another machine: its name, and how far its wall clock is off.
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(import.meta.url);

/** The environment of a process on the machine of this name. */
export function onMachine(name: string, clockOffMs = 0): Record<string, string> {
  return {
    NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${FILE}`,
    TEST_MACHINE: name,
    TEST_CLOCK_OFF_MS: String(clockOffMs),
  };
}

const { TEST_MACHINE: name, TEST_CLOCK_OFF_MS: off } = process.env;
if (name !== undefined) {
  const os = createRequire(import.meta.url)('node:os') as { hostname: () => string };
  os.hostname = () => name;
  syncBuiltinESMExports();
}
if (Number(off ?? 0) !== 0) {
  const RealDate = Date;
  const now = () => RealDate.now() + Number(off);
  globalThis.Date = class extends RealDate {
    constructor(...args: unknown[]) {
      super(...((args.length === 0 ? [now()] : args) as [number]));
    }
    static override now(): number {
      return now();
    }
  } as DateConstructor;
}
