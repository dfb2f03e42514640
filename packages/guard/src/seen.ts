// Writes that no surface names, so that somebody can name them. The list is public and bounded: no ids, no tokens, and
// who sends rubbish does not push out what comes often.

/** One way to write that no surface names. */
export interface SeenUnnamed {
  readonly method: string;
  /** Its first three segments; what looks like an id is `:id`, and `*` stands for the rest. */
  readonly path: string;
  /** About: after the first 500 writes one of 16 is looked at, and an entry inherits the count of the one that it replaced. */
  readonly count: number;
}

const WORD = /^(?:[A-Za-z][A-Za-z_-]{0,23}|v\d{1,3})$/;
const METHOD = /^[A-Z]{1,20}$/;

/** So many are looked at one by one; then one of `EACH`, and counts for all of them: what is looked at costs a microsecond. */
const FIRST = 500;
const EACH = 16;

/** The `most` heaviest entries (the space-saving algorithm of Metwally, Agrawal and El Abbadi, 2005). */
export function createSketch(most: number) {
  const entries = new Map<string, { readonly method: string; readonly path: string; count: number }>();
  let seen = 0;
  return {
    add(method: string, target: string): void {
      seen += 1;
      const weight = seen <= FIRST ? 1 : EACH;
      if (seen % weight !== 0) return;
      const path = patternOf(target);
      const shown = METHOD.test(method) ? method : 'OTHER';
      const key = `${shown} ${path}`;
      const entry = entries.get(key);
      if (entry) {
        entry.count += weight;
        return;
      }
      let inherited = 0;
      if (entries.size >= most) {
        let least: [string, { count: number }] | undefined;
        for (const each of entries) if (!least || each[1].count < least[1].count) least = each;
        if (!least) return;
        inherited = least[1].count;
        entries.delete(least[0]);
      }
      entries.set(key, { method: shown, path, count: inherited + weight });
    },
    list(): SeenUnnamed[] {
      return [...entries.values()].sort((a, b) => b.count - a.count).map((entry) => ({ ...entry }));
    },
  };
}

function patternOf(target: string): string {
  const question = target.indexOf('?');
  const path = (question < 0 ? target : target.slice(0, question)).slice(0, 256);
  const segments = path.split('/', 6).filter((segment) => segment !== '');
  const shown = segments.slice(0, 3).map((segment) => (WORD.test(segment) ? segment : ':id'));
  return `/${shown.join('/')}${segments.length > 3 ? '/*' : ''}`;
}
