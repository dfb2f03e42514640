// Who runs this, and from where, as far as the system knows: a container may run as a number without a name or a home,
// and a folder may be removed while somebody stands in it. Nobody who asks gets an exception.
import { userInfo } from 'node:os';

/** undefined: this uid has no name */
export function userName(): string | undefined {
  return info()?.username || undefined;
}

/** undefined: none is known */
export function homeFolder(env: Readonly<Record<string, string | undefined>> = process.env): string | undefined {
  return env['HOME'] || info()?.homedir || undefined;
}

/** undefined: it is gone */
export function workingFolder(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

function info(): { username: string; homedir: string } | undefined {
  try {
    return userInfo();
  } catch {
    return undefined;
  }
}
