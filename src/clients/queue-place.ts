// How a queue is named. Alone in its file, because every command that knows the steps loads it.

export function isPostgres(queue: string): boolean {
  return /^postgres(ql)?:\/\//i.test(queue);
}

/** Where a queue is, free of secrets: "sqlite /var/lib/app/queue.db", "postgres db:5432/app". As walls name what they close. */
export function queuePlace(queue: string): string {
  if (!isPostgres(queue)) return `sqlite ${queue}`;
  const url = URL.parse(queue);
  return url ? `postgres ${url.hostname}:${url.port || 5432}${url.pathname}` : 'an address that is not known yet';
}
