// Marks for params. They change nothing about what a schema accepts: the runbook reads them from the schema's metadata.
import { z } from 'zod';
import { DURATION, MAX_MS, milliseconds } from './duration.ts';

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

/** "30s", "5m", "1h30m", "1d": a positive whole number with its unit; parsed to milliseconds. */
export function duration(): z.ZodType<number, string> {
  return z
    .string()
    .regex(DURATION, 'a duration like 30s, 5m, 1h30m')
    .transform(milliseconds)
    .refine((ms) => ms > 0 && ms <= MAX_MS, 'longer than nothing and at most 30 days')
    .meta({ duration: true });
}
