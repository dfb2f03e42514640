// What somebody meant who typed a name that is not there: a slip of the fingers, or only a part of the name.

const LONGEST_COMPARED = 64;
const MOST = 5;
/** What a name is made of: `flag/redis`, `dry-run`, `queue backfill`, `prod-eu`. */
const SEPARATORS = /[/\s:._-]+/;
/** A part that is written out is as good as one slip in the whole name. */
const PART = 1;
/** A slip in a part is more likely to be another word than a slip in the whole name. */
const PART_SLIP = 1.5;
const SHARED_PART = 3;
/** Shorter words are near to too much. */
const BEGINNING_MIN = 3;
const PART_SLIP_MIN = 5;

/** The candidates that are equally near, at most five, in their own order; [] where nothing is near enough. */
export function nearestNames(name: string, candidates: Iterable<string>): string[] {
  const wanted = name.toLowerCase();
  if (wanted === '' || wanted.length > LONGEST_COMPARED) return [];
  let best = Number.POSITIVE_INFINITY;
  let found: string[] = [];
  for (const candidate of new Set(candidates)) {
    if (candidate.length > LONGEST_COMPARED) continue;
    const score = distance(wanted, candidate.toLowerCase());
    if (score === undefined || score > best) continue;
    if (score < best) found = [];
    best = score;
    found.push(candidate);
  }
  return found.slice(0, MOST);
}

/** For a question: "flag/redis, cache/redis-namespace or no-writes/redis". */
export function nearestText(name: string, candidates: Iterable<string>): string | undefined {
  const names = nearestNames(name, candidates);
  if (names.length < 2) return names[0];
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}

function distance(wanted: string, lower: string): number | undefined {
  const slips = within(wanted, lower);
  const parts = lower.split(SEPARATORS).filter((part) => part !== '');
  const words = wanted.split(SEPARATORS).filter((part) => part.length > 1);
  const scores = [
    ...(slips === undefined ? [] : [slips]),
    ...parts.flatMap((part) => {
      if (part === wanted || (wanted.length >= BEGINNING_MIN && part.startsWith(wanted))) return [PART];
      const slip = wanted.length >= PART_SLIP_MIN ? within(wanted, part) : undefined;
      return slip === undefined ? [] : [slip + PART_SLIP - 1];
    }),
    ...(words.length > 1 && words.some((word) => parts.includes(word)) ? [SHARED_PART] : []),
  ];
  return scores.length === 0 ? undefined : Math.min(...scores);
}

/** How many slips, if few enough for a word of this length. */
function within(wanted: string, word: string): number | undefined {
  const most = Math.max(1, Math.floor(wanted.length / 3));
  if (Math.abs(wanted.length - word.length) > most) return undefined;
  const slips = editDistance(wanted, word);
  return slips <= most ? slips : undefined;
}

/** Optimal string alignment: insertions, deletions, replacements and swapped neighbours count one. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, beforeLast[j - 2]! + 1);
      row.push(least);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
