// @oclif/test captures nothing while jest decorates the console: give the tests Node's own.
import { Console } from 'node:console';

globalThis.console = new Console(process.stdout, process.stderr);
