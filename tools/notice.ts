// NOTICE: the packages whose code the bundle holds, and the words that their licences want to travel with it.
// By itself it prints the text: the bundler takes no objects from a test's own realm.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { INPUT, OUTPUT, packagesIn } from './bundle.ts';

interface Bundled {
  name: string;
  version: string;
  license: string;
  /** the copyright lines of its licence file, or who the package says wrote it */
  copyright: string[];
  /** the licence's text without these lines; undefined: the package brings none */
  text: string | undefined;
  /** its own NOTICE, which Apache-2.0 (4d) wants to be passed on */
  notice: string | undefined;
}

/** Nothing is written: only which modules are in it matters. */
export async function notice(): Promise<string> {
  const bundle = await rolldown({ ...INPUT, logLevel: 'silent' });
  const { output } = await bundle.generate({ ...OUTPUT, minify: false });
  await bundle.close();
  const unique = new Map(packagesIn(output).map((folder) => [key(folder), folder]));
  return noticeText([...unique.keys()].sort().map((name) => bundled(unique.get(name)!)));
}

function key(folder: string): string {
  const { name, version } = manifest(folder);
  return `${name} ${version}`;
}

function manifest(folder: string): {
  name: string;
  version: string;
  license?: string;
  author?: string | { name?: string };
} {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

function bundled(folder: string): Bundled {
  const { name, version, license, author } = manifest(folder);
  const own = (like: RegExp) => {
    const file = readdirSync(folder, { withFileTypes: true }).find((entry) => entry.isFile() && like.test(entry.name));
    return file && readFileSync(join(folder, file.name), 'utf8').replaceAll('\r\n', '\n').trim();
  };
  const text = own(/^(licen[cs]e|copying)/i) ?? grantOf(own(/^readme/i));
  const apache = text !== undefined && license === 'Apache-2.0' && text.includes('TERMS AND CONDITIONS FOR USE');
  const lines = (text ?? '').split('\n').map((line) => line.trim());
  const copyright = lines.filter((line) => OWNER.test(line));
  const who = typeof author === 'string' ? author : author?.name;
  return {
    name,
    version,
    license: license ?? 'not named',
    copyright: copyright.length > 0 || !who ? copyright.map((line) => line.replace(/^#+ /, '')) : [`by ${who}`],
    text: apache
      ? 'The text of the Apache License 2.0 is in LICENSE, beside this file.'
      : text && lines.filter((line) => !copyright.includes(line)).join('\n'),
    notice: own(/^notice/i),
  };
}

/** A line that names an owner; not a heading over names, and not the licences' own sentences about copyright. */
const OWNER = /^(#+ )?(Copyright|\(c\)|©)\s(?!\[|You must|owner|notice|license|holder).*[^:]$/;

/** Some packages have their licence in the README only. */
function grantOf(readme: string | undefined): string | undefined {
  const from = readme?.search(/^#+ *licen[cs]e|^\(?the mit license|^copyright/im) ?? -1;
  const text = from < 0 ? '' : readme!.slice(from).replace(/^#+ *licen[cs]e *\n+/i, '');
  return /permission is hereby granted/i.test(text) ? text.replaceAll('&lt;', '<').replaceAll('&gt;', '>') : undefined;
}

/** Packages under the same words stand together, and the words once. */
function noticeText(packages: readonly Bundled[]): string {
  const groups = new Map<string, { license: string; text: string | undefined; of: Bundled[] }>();
  for (const one of packages) {
    const id = `${one.license} ${words(one.text ?? '')}`;
    const group = groups.get(id) ?? { license: one.license, text: one.text, of: [] };
    group.of.push(one);
    groups.set(id, group);
  }
  const rule = '-'.repeat(80);
  return [
    'maint',
    '',
    'The program in dist/ holds code of the packages below, each under its own licence.',
    'Written by npm run generate from what the bundle holds; do not edit.',
    ...[...groups.values()]
      .sort((a, b) => b.of.length - a.of.length || (a.of[0]!.name < b.of[0]!.name ? -1 : 1))
      .flatMap(({ license, text, of }) => [
        '',
        rule,
        '',
        ...of.flatMap(({ name, version, copyright }) => [
          `${name} ${version} (${license})`,
          ...copyright.map((line) => `    ${line}`),
        ]),
        '',
        text ?? `The packages above bring no text of their licence; their package.json names ${license}.`,
        ...of.flatMap((one) => (one.notice ? ['', `NOTICE of ${one.name}:`, '', one.notice] : [])),
      ]),
    '',
  ]
    .join('\n')
    .replace(/\n{3,}/g, '\n\n');
}

/** What a licence says, whatever its line breaks and its title. */
function words(text: string): string {
  return text
    .replace(/[^A-Za-z]+/g, ' ')
    .toLowerCase()
    .replace(/^ ?((the )?(mit|isc) license )+(mit )?/, '')
    .trim();
}

if (import.meta.filename === process.argv[1]) process.stdout.write(await notice());
