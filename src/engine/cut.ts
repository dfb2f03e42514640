// Shortening a text: whole characters as people see them (an emoji of seven code points, a letter with its accent), so
// that nothing is half shown and no service gets half a surrogate pair. The packages carry a copy (`npm run generate`).

/** Made when a text has to be cut: it takes longer than most of what is printed. */
let characters: Intl.Segmenter | undefined;
/** Nothing that people write as one character is longer; what is longer is cut before it all the same. */
const LONGEST = 64;

/** At most `most` UTF-16 code units, the sign that something is missing among them. */
export function cutText(text: string, most: number): string {
  return text.length <= most ? text : `${beginning(text, most - 1)}…`;
}

/** As many whole characters as fit into `most` UTF-16 code units. */
export function beginning(text: string, most: number): string {
  if (text.length <= most) return text;
  characters ??= new Intl.Segmenter();
  let end = 0;
  for (const { index, segment } of characters.segment(text.slice(0, most + LONGEST))) {
    if (index + segment.length > most) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}
