// Small, deterministic embeddings: words and their three-letter pieces, hashed into a fixed number of dimensions. They
// know spelling, not meaning; that is enough to have vectors which are written and searched like real ones.

export const DIMENSIONS = 256;

/** A vector of length 1, or of zeros where the text has no word. */
export function embed(text: string): Float32Array {
  const vector = new Float32Array(DIMENSIONS);
  for (const word of words(text)) {
    add(vector, word, 3);
    const padded = `^${word}$`;
    for (let at = 0; at + 3 <= padded.length; at++) add(vector, padded.slice(at, at + 3), 1);
  }
  return normalized(vector);
}

export function normalized(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length === 0 ? vector : vector.map((value) => value / length);
}

/** Of two vectors of length 1. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}

export function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

function add(vector: Float32Array, feature: string, weight: number): void {
  const hash = fnv1a(feature);
  const at = hash % DIMENSIONS;
  // A sign from another bit of the hash: features that share a dimension cancel out as often as they add up.
  vector[at] = (vector[at] ?? 0) + ((hash & 0x8000_0000) === 0 ? weight : -weight);
}

function fnv1a(text: string): number {
  let hash = 0x811c_9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x0100_0193) >>> 0;
  return hash;
}
