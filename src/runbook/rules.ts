// Rules over the steps together. The first group needs the text alone; the second is asked at plan, with resolved values.
import type { AnyPlugin, Layer, Role, Step } from '../engine/contract.ts';
import { LAYERS } from '../engine/roles.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import type { Located, Report } from './document.ts';
import { nearestNames } from './nearest.ts';
import { quoted } from './problems.ts';

/**
 * How a step is called that has no id: the family's name. Notices stand side by side in one runbook, and people know
 * them by where they appear, so these go by the backend's name: `statuspage`, `slack`.
 */
export function defaultId(plugin: { name: string }): string {
  const [family, backend] = plugin.name.split('/');
  return family === 'notice' && backend ? backend : family!;
}

/** The role as far as the text tells it: `command` has it as a param. */
export function roleInText(plugin: AnyPlugin, params: unknown): Role | 'check' {
  if (plugin.kind === 'check') return 'check';
  if (plugin.kind === 'resource' && plugin.roleOf) {
    try {
      return plugin.roleOf(params) ?? plugin.role;
    } catch {
      return plugin.role;
    }
  }
  return plugin.role;
}

/** Where a wall stands, as far as the text tells it: `command` has it as a param. */
export function layerInText({ layer }: AnyPlugin, params: unknown): Layer | undefined {
  if (typeof layer !== 'function') return layer;
  try {
    return layer(params) ?? 'service';
  } catch {
    return 'service';
  }
}

/** What the rules look at of a step that is read but not resolved. */
export interface StepInText {
  id: string;
  plugin: AnyPlugin;
  role: Role | 'check';
  layer: Layer | undefined;
  at: Located;
  group?: number | undefined;
  skipped?: string | undefined;
}

/** `release`, `on_failure`, `on_bad` and `pace` where they would change nothing, or something that must not change. */
export function checkPlacement(step: StepInText, report: Report): void {
  const { plugin, role, at } = step;
  const misplaced = (key: string, why: string, allowed?: string) => {
    const child = at.keys?.get(key);
    if (!child) return;
    const found = typeof child.value === 'string' ? `${key}: ${child.value}` : key;
    report(child, { code: 'misplaced', message: why, found, ...(allowed ? { allowed } : {}) });
  };
  const value = (key: string) => at.keys?.get(key)?.value;
  if (plugin.kind === 'check') {
    misplaced('release', `means nothing for ${plugin.name}: a check holds nothing`, 'on resources only');
    misplaced('pace', `means nothing for ${plugin.name}: a check changes nothing`, 'on resources only');
    if (!plugin.on.includes('soaking'))
      misplaced(
        'on_bad',
        `means nothing for ${plugin.name}: it does not watch the soak`,
        'on checks that run while soaking',
      );
    if (!plugin.on.includes('before') && !plugin.on.includes('open')) {
      misplaced(
        'on_failure',
        `means nothing for ${plugin.name}: it does not run at start`,
        plugin.on.includes('soaking') ? 'on_bad' : undefined,
      );
    }
    return;
  }
  misplaced('on_bad', `means nothing for ${plugin.name}: it is no check`, 'on checks that run while soaking');
  if (plugin.kind === 'action') {
    misplaced('release', `means nothing for ${plugin.name}: an action holds nothing`, 'on resources only');
    misplaced('pace', `means nothing for ${plugin.name}: an action holds nothing`, 'on resources only');
    if (!plugin.on.includes('open'))
      misplaced('on_failure', `means nothing for ${plugin.name}: it does not run at start`);
    return;
  }
  if (role === 'wall' && value('release') !== 'reopen')
    misplaced('release', 'cannot be moved: a wall opens first', 'reopen');
  if (role === 'notice') misplaced('release', 'cannot be moved: a notice follows the phases by itself');
}

/** A drain closes nothing, but has its place among the walls: once writes are refused, before their store closes. */
function isDrain(step: StepInText): boolean {
  return step.role === 'check' && step.layer !== undefined;
}

/** From the outside in; a drain stands right within the layer that it waits for. undefined: anywhere. */
function depthOf(step: StepInText): number | undefined {
  if (step.layer === undefined) return undefined;
  return LAYERS.indexOf(step.layer) + (isDrain(step) ? 0.5 : 0);
}

/** Walls close outside-in, in the order of the list; in one group they are of one layer. */
export function checkWalls(steps: readonly StepInText[], report: Report): void {
  const walls = steps.filter((step) => (step.role === 'wall' || isDrain(step)) && step.skipped === undefined);
  const real = walls.filter((step) => !isDrain(step));
  const usesOf = ({ at }: StepInText) => at.keys?.get('uses') ?? at;
  if (real.length > 0 && real.every(({ layer }) => layer === 'store'))
    for (const step of walls.filter(isDrain))
      report(usesOf(step), {
        code: 'wall_order',
        message: 'waits for the writes that were admitted before, and nothing before it refuses new ones',
        found: quoted(step.plugin.name),
        allowed: 'a place after a flag or a gateway',
      });
  const groups = Map.groupBy(walls, (step) => step.group);
  let deepest: StepInText | undefined;
  for (const step of walls) {
    const other =
      step.group === undefined ? undefined : groups.get(step.group)?.find((wall) => depthOf(wall) !== depthOf(step));
    if (other) {
      if (other.at.offset < step.at.offset)
        report(usesOf(step), {
          code: 'wall_order',
          message: `is in one parallel group with ${other.id} (${other.plugin.name}); walls of different layers close one after the other`,
          found: quoted(step.plugin.name),
          allowed: 'a place of its own in the list',
        });
      continue;
    }
    const depth = depthOf(step);
    const before = deepest && depthOf(deepest)!;
    if (depth === undefined) continue;
    if (deepest && before !== undefined && depth < before && !isLateEdge(step, deepest))
      report(usesOf(step), {
        code: 'wall_order',
        message: `closes outside ${deepest.id} (${deepest.plugin.name}) but stands after it; walls close outside-in`,
        found: quoted(step.plugin.name),
        allowed: `a place before ${deepest.id}`,
      });
    else if (before === undefined || depth > before) deepest = step;
  }
}

/** An edge that closes after the services: both refuse, only in an odd order. */
function isLateEdge(step: StepInText, deepest: StepInText): boolean {
  return step.layer === 'edge' && deepest.layer === 'service' && !isDrain(deepest);
}

/** `--only` and `--skip` name steps that are there (64). */
export function checkNames(
  flag: '--only' | '--skip',
  names: readonly string[],
  steps: readonly { id: string; uses: string }[],
): void {
  const ids = steps.map((step) => step.id);
  for (const name of names) {
    if (ids.includes(name)) continue;
    const nearest = nearestSteps(name, steps);
    throw new MaintError('E_USAGE', `${flag} names ${quoted(name)}, and no step has that id.`, {
      details: [`the steps are ${ids.join(', ')}`],
      next: nearest.length > 0 ? nearest.map((id) => advice(`${flag} ${id}`)) : [maint('runbook show')],
    });
  }
}

/** By its id, or by the plugin that it uses: "redis" is the step `flag` that uses flag/redis. */
function nearestSteps(name: string, steps: readonly { id: string; uses: string }[]): string[] {
  const byId = nearestNames(
    name,
    steps.map((step) => step.id),
  );
  if (byId.length > 0) return byId;
  const plugins = nearestNames(
    name,
    steps.map((step) => step.uses),
  );
  return steps.filter((step) => plugins.includes(step.uses)).map((step) => step.id);
}

function sameHost(address: string): string {
  return address.toLowerCase().replace(/\b(localhost|127\.0\.0\.1)\b|\[::1\]/g, 'localhost');
}

/** Whether `address` is the closed thing or a part of it ("postgres db:5432" holds "postgres db:5432/app"). */
function isInside(closed: string, address: string): boolean {
  const outer = sameHost(closed);
  const inner = sameHost(address);
  return inner === outer || (inner.startsWith(outer) && /[/ ]/.test(inner[outer.length]!));
}

/** Throws E_STORE_INSIDE if the journal, a flag or a queue would be closed by one of the walls. */
export function storeOutsideWalls(steps: readonly Step[], storeAddress: string): void {
  const active = steps.filter((step) => step.skipped === undefined && step.plugin.kind !== 'check');
  const details: string[] = [];
  for (const wall of active) {
    for (const closed of wall.plugin.closes?.(wall.params) ?? []) {
      if (isInside(closed, storeAddress))
        details.push(`${wall.id} (${wall.plugin.name}) closes ${closed}, where the state is kept: ${storeAddress}`);
      for (const keeper of active) {
        for (const kept of keeper === wall ? [] : (keeper.plugin.keeps?.(keeper.params) ?? []))
          if (isInside(closed, kept))
            details.push(
              `${wall.id} (${wall.plugin.name}) closes ${closed}, where ${keeper.id} keeps what it needs: ${kept}`,
            );
      }
      for (const flag of active) {
        if (flag === wall || flag.plugin.kind !== 'resource' || !flag.plugin.holders) continue;
        const address = flag.plugin.address(flag.params);
        if (isInside(closed, address))
          details.push(`${wall.id} (${wall.plugin.name}) closes ${closed}, where ${flag.id} is kept: ${address}`);
      }
    }
  }
  if (details.length === 0) return;
  throw new MaintError(
    'E_STORE_INSIDE',
    'The state, the flag or the queue would be closed by a wall of this runbook. Nothing changed.',
    {
      details,
      next: [advice('keep the state elsewhere: --state, MAINT_STATE'), advice('or the flag or the queue: another url')],
    },
  );
}

/**
 * Throws E_SAME_RESOURCE if two steps act on one thing: the same plugin and address, and where `ids` knows what each
 * step sees (by step id), at least one id in common. Checks only look, and may look twice.
 */
export function sameResource(steps: readonly Step[], ids?: ReadonlyMap<string, readonly string[]>): void {
  const details: string[] = [];
  const seen: { step: Step; key: string }[] = [];
  for (const step of steps) {
    if (step.skipped !== undefined || step.plugin.kind === 'check') continue;
    const key = `${step.plugin.name}\n${sameHost(step.plugin.address(step.params))}`;
    for (const other of seen) {
      if (other.key !== key) continue;
      const mine = ids?.get(step.id);
      const theirs = ids?.get(other.step.id);
      const both = mine && theirs ? mine.filter((id) => theirs.includes(id)) : undefined;
      if (both && both.length === 0) continue;
      const what = both
        ? `: ${both.slice(0, 5).join(', ')}${both.length > 5 ? ` and ${both.length - 5} more` : ''}`
        : '';
      details.push(
        `${other.step.id} and ${step.id} both act on ${step.plugin.address(step.params)} (${step.plugin.name})${what}`,
      );
    }
    seen.push({ step, key });
  }
  if (details.length === 0) return;
  throw new MaintError('E_SAME_RESOURCE', 'Two steps act on the same thing. Nothing changed.', {
    details,
    next: [advice('make one step of them, or leave one out: --skip')],
  });
}
