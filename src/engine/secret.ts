// Marks for params. They change nothing about what a schema accepts: the runbook reads them from the schema's metadata.
import { z } from 'zod';
import { DURATION, MAX_MS, milliseconds } from './duration.ts';
import { HEADER_NAME, HEADER_VALUE } from './headers.ts';

/** A secret: a literal in a runbook is an error, and its value is redacted wherever it might come out. */
export function secret<T extends z.ZodType>(schema: T): T {
  return schema.meta({ ...schema.meta(), secret: true }) as T;
}

/** An address whose userinfo may hold a password: a literal password in it is an error, and it is redacted. */
export function url(description = 'the address of the service, without the path of its API'): z.ZodURL {
  return z.url({ protocol: /^(https?|rediss?|postgres(ql)?|unix)$/ }).meta({ url: true, description });
}

/** A path: relative ones count from the runbook's folder and are made absolute. */
export function path(description: string): z.ZodString {
  return z.string().min(1).meta({ path: true, description });
}

/** What is wrong with how a text is written, and the text that was meant where that can be told. */
export interface Misspelt {
  message: string;
  allowed: string;
  meant?: string | undefined;
}

/**
 * A text with a small language in it: what the rule finds is a problem of the file. Apart from the schema, since it is
 * not asked of what a window has stored: an earlier release took it, and the window must end. `key`: that of the value.
 */
export function spelled<T extends z.ZodType>(
  schema: T,
  rule: (text: string, key: string | undefined) => Misspelt | undefined,
): T {
  return schema.meta({ ...schema.meta(), spelled: rule }) as T;
}

/** "30s", "5m", "1h30m", "1d": a positive whole number with its unit; parsed to milliseconds. */
export function duration(): z.ZodType<number, string> {
  return z
    .string()
    .regex(DURATION, 'a duration like 30s, 5m, 1h30m')
    .transform(milliseconds)
    .refine((ms) => ms > 0 && ms <= MAX_MS, 'longer than nothing and at most 30 days')
    .meta({ duration: true });
}

/** A map of headers. A line of a request (`X-Key: 1`) as the name would only fail once it is sent. */
export function headers() {
  return z.record(
    z.string(),
    spelled(z.string(), (value, name = '') => {
      const line = /^([^\s:]+):\s*(.*)$/.exec(name);
      if (!HEADER_NAME.test(name))
        return {
          message: `is under ${JSON.stringify(name)}, which is not the name of a header`,
          allowed: 'name: value, each header by itself',
          meant: line ? `${line[1]}: ${JSON.stringify(line[2] || value)}` : undefined,
        };
      if (!HEADER_VALUE.test(value))
        return { message: `is not the value of a header (${name})`, allowed: 'one line of plain characters' };
      return undefined;
    }),
  );
}

export function headerName(): z.ZodString {
  return spelled(z.string().min(1), (name) => {
    if (HEADER_NAME.test(name)) return undefined;
    const [, first] = /^\s*([^\s:]+)\s*:/.exec(name) ?? [];
    return { message: 'is not the name of a header', allowed: 'a name such as X-Cache, without a value', meant: first };
  });
}
