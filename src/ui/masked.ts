// What people wrote (a reason, a path) stands in quotes within a command to type next. Nothing in it parts two commands,
// names a flag or is a command itself.

/** The same length, with everything between quotes replaced, so that places in it are places in `text`. */
export function masked(text: string): string {
  let result = '';
  for (let at = 0; at < text.length; ) {
    const end = quoteEnd(text, at);
    result += end === undefined ? text[at] : `${text[at]}${'_'.repeat(end - at - 1)}${text[at]}`;
    at = end === undefined ? at + 1 : end + 1;
  }
  return result;
}

/** One next command after the other: the parts between ` · `, which stays with the part before it where `keep` says so. */
export function commandsOf(text: string, keep = false): string[] {
  const hidden = masked(text);
  const parts: string[] = [];
  let from = 0;
  for (const match of hidden.matchAll(/ · /g)) {
    parts.push(text.slice(from, match.index + (keep ? match[0].length : 0)));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)];
}

/** Where the quote ends that begins here; an apostrophe within a word begins none, one that is never closed neither. */
function quoteEnd(text: string, at: number): number | undefined {
  const quote = text[at];
  if (quote !== '"' && quote !== "'") return undefined;
  // 'it'\''s': after the escaped one the next part of the same word begins
  const before = text[at - 1] ?? ' ';
  if (!/[\s=(]/.test(before) && text.slice(at - 2, at) !== "\\'") return undefined;
  const end = text.indexOf(quote, at + 1);
  return end < 0 ? undefined : end;
}
