#!/usr/bin/env node
// The sources as they are, without a build: for working on maint itself.
import { readFileSync } from 'node:fs';
import { main } from '../src/main.ts';

await main(import.meta.url, JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')));
