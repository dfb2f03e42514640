// The explicit list of commands: oclif finds them in a bundle by it.
import { Abort } from './abort.ts';
import { End } from './end.ts';
import { Extend } from './extend.ts';
import { Start } from './start.ts';
import { Status } from './status.ts';

export const COMMANDS = { abort: Abort, end: End, extend: Extend, start: Start, status: Status };
