// A check's canaries: only what the check has declared goes out.
import type { Prober } from '../engine/io.ts';
import { outerError, type Scope } from './call.ts';
import { httpProbe, target } from './http.ts';

export function prober(scope: Scope, declared: readonly { method: string; url: string }[]): Prober {
  const allowed = new Set(declared.map(({ method, url }) => key(method, { url })));
  return {
    async send(method, request) {
      if (!allowed.has(key(method, request))) {
        throw outerError(scope, `${method.toUpperCase()} ${shown(request.url)} was not declared by the check`, {
          effect: 'none',
          retryable: false,
          code: 'UNDECLARED',
        });
      }
      return httpProbe(scope, method.toUpperCase(), request);
    },
  };
}

function key(method: string, request: { url: string; query?: Record<string, any> }): string {
  try {
    return `${method.toUpperCase()} ${target(request).url.href}`;
  } catch {
    return `${method.toUpperCase()} ${request.url}`;
  }
}

function shown(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return 'an address that is none';
  }
}
