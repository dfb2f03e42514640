import type { IntentStore, Limits } from './port.ts';
export async function openPostgresStore(
  _url: string,
  _options: { limits: Limits; schema?: string },
): Promise<IntentStore> {
  throw new Error('under way');
}
