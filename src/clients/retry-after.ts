// How long a service asks to wait. The one parser of the program and of its packages: each package carries a copy that
// `npm run generate` makes from this file, since a package has no dependencies.

/** Some 30,000 years. More digits than that mean a very long time, too, and must not become Infinity. */
const MOST_SECONDS = 1e12;
/** The three forms of RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 …`, `Sun Nov  6 08:49:37 1994`. */
const HTTP_DATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? (?:\d{1,2}[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d(?: (?:GMT|UTC|[+-]\d{4}))?|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/;

/**
 * Retry-After (RFC 9110, 10.2.3) in milliseconds from now; null where there is none, or where it is neither seconds
 * nor a date: a negative number asks for nothing. A fraction is not in the standard, and sent by some. A date is taken
 * against the answer's own `Date`: a client whose clock is wrong waits as long as it is asked to.
 *
 * @param now milliseconds since the epoch
 */
export function retryAfterMs(value: string | null | undefined, date: string | null | undefined, now: number) {
  const text = value?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Math.min(Number(text), MOST_SECONDS) * 1000);
  const at = httpDate(text);
  if (at === null) return null;
  return Math.max(0, at - (httpDate(date?.trim() ?? '') ?? now));
}

/** `Date.parse` alone would take "2.5" for a day of 2001, and "2100.5" for one of 2100. */
function httpDate(text: string): number | null {
  if (!HTTP_DATE.test(text)) return null;
  const at = Date.parse(/GMT|UTC|[+-]\d{4}$/.test(text) ? text : `${text} GMT`);
  return Number.isNaN(at) ? null : at;
}
