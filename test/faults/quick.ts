// node --import: the quick clock for a process that is begun by a test.
import { quicken } from './clock.ts';

quicken(Number(process.env['TEST_QUICK'] ?? 20));
