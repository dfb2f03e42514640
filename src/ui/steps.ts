// The plugins as a list, and each with its params and an example; docs/steps.md says the same as Markdown.
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import { nearestNames } from '../runbook/nearest.ts';
import type { PluginInfo, PluginParam } from '../runbook/plugins.ts';
import { type Line, nextLine } from './next.ts';

/** All, one by its name, or a family: "flag", "notice". */
export function chosenPlugins(all: readonly PluginInfo[], wanted: string | undefined): PluginInfo[] {
  const sorted = [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (wanted === undefined) return sorted;
  const chosen = sorted.filter((one) => one.name === wanted || one.name.split('/')[0] === wanted);
  if (chosen.length > 0) return chosen;
  const names = sorted.map((one) => one.name);
  const nearest = nearestNames(wanted, names);
  throw new MaintError('E_USAGE', `No plugin is called ${JSON.stringify(wanted)}.`, {
    details: [`there are ${names.join(', ')}`],
    next: [...nearest.map((name) => maint(['steps', name])), maint('steps')],
  });
}

export function stepsLines(plugins: readonly PluginInfo[], wanted: string | undefined): Line[] {
  if (wanted !== undefined) return plugins.flatMap((one, i) => [...(i > 0 ? [''] : []), ...detailLines(one)]);
  const width = Math.max(...plugins.map((one) => one.name.length));
  const roles = Math.max(...plugins.map((one) => one.role.length));
  return [
    ...plugins.map((one) => `  ${one.name.padEnd(width)}  ${one.role.padEnd(roles)}  ${one.summary}`),
    nextLine(maint(['steps', plugins[0]!.name])),
  ];
}

function detailLines(plugin: PluginInfo): string[] {
  const width = Math.max(0, ...plugin.params.map((param) => param.name.length));
  const typed = Math.min(24, Math.max(0, ...plugin.params.map((param) => param.type.length)));
  return [
    `${plugin.name}: ${plugin.summary}`,
    `  ${plugin.kind}, role ${plugin.role}, ${plugin.when}${plugin.leaves ? `, leaves behind: ${plugin.leaves}` : ''}`,
    'with:',
    ...(plugin.params.length === 0 ? ['  nothing'] : []),
    ...plugin.params.map(
      (param) =>
        `  ${param.name.padEnd(width)}  ${param.type.padEnd(typed)}  ${[marks(param), param.description].filter(Boolean).join('; ')}`,
    ),
    'example:',
    ...plugin.example.split('\n').map((line) => `  ${line}`),
  ];
}

function marks(param: PluginParam): string {
  return [
    param.required ? 'required' : param.default === undefined ? 'optional' : `default ${param.default}`,
    ...(param.secret ? ['a secret: only from a variable'] : []),
  ].join(', ');
}

export function stepsMarkdown(plugins: readonly PluginInfo[]): string[] {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  return [
    '| plugin | role | |',
    '| --- | --- | --- |',
    ...plugins.map(
      (one) => `| [\`${one.name}\`](#${one.name.replaceAll('/', '')}) | ${one.role} | ${cell(one.summary)} |`,
    ),
    ...plugins.flatMap((one) => [
      '',
      `## ${one.name}`,
      '',
      `${one.summary[0]!.toUpperCase()}${one.summary.slice(1)}. ${one.kind === 'action' ? 'An' : 'A'} ${one.kind}, role ${one.role}, ${one.when}.${one.leaves ? ` Leaves behind: ${one.leaves}.` : ''} Its step is called \`${one.id}\` unless it has an \`id\`.`,
      '',
      '```yaml',
      one.example,
      '```',
      ...(one.params.length === 0
        ? []
        : [
            '',
            '| param | type | | |',
            '| --- | --- | --- | --- |',
            ...one.params.map(
              (param) =>
                `| \`${param.name}\` | ${cell(param.type)} | ${cell(marks(param))} | ${cell(param.description)} |`,
            ),
          ]),
    ]),
  ];
}
