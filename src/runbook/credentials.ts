// Which names carry a credential: of headers, of a query's and of a path's parameters. What is kept for later is stored in
// clear, so none of these may be in it. By the parts of a name and not by whole names: every service has its own
// `X-Acme-Session-Token`. Better one write refused than one secret stored; a surface may name exceptions.

/** Whoever holds one of these is the user: no surface may make an exception of them. */
export const ALWAYS_CREDENTIALS: ReadonlySet<string> = new Set([
  ...['authorization', 'proxy-authorization', 'cookie', 'cookie2', 'set-cookie'],
  ...['x-api-key', 'api-key', 'x-auth-token', 'x-access-token', 'x-csrf-token', 'x-xsrf-token', 'x-amz-security-token'],
]);

/** A name with one of these among its parts is a credential's. */
const PARTS = new Set([
  ...['auth', 'oauth', 'authn', 'authorization', 'authentication', 'oidc', 'saml', 'assertion', 'bearer', 'jwt'],
  ...['session', 'sessions', 'sess', 'sid', 'cookie', 'cookies', 'csrf', 'xsrf', 'csrfmiddlewaretoken', 'otp', 'totp'],
  ...['pwd', 'passcode', 'credential', 'credentials', 'secret', 'secrets', 'token'],
  // of signed addresses: whoever has one may use it; the last ones are Akamai's and Azure's
  ...['sig', 'signature', 'signatures', 'hmac', 'hdnts', 'hdnea', 'sas'],
]);
/** Common words as such, credentials as a whole name. */
const WHOLE = new Set(['key', 'sign']);
/** What a `key` is of, where it is a secret: `routing-key` and `sort_key` are not secrets. */
const KEYS = new Set([
  ...[
    'access',
    'account',
    'admin',
    'api',
    'app',
    'application',
    'auth',
    'client',
    'encryption',
    'function',
    'functions',
  ],
  ...['license', 'master', 'private', 'secret', 'security', 'server', 'service', 'shared', 'signing', 'subscription'],
  ...['user'],
]);

/** Names that are written without a break: `jsessionid`, `clientsecret`, `phpsessid`. */
const ENDINGS = new RegExp(
  `(?:${[
    ...['token', 'tokenid', 'secret', 'password', 'passwd', 'passphrase', 'assertion', 'samlresponse', 'signature'],
    ...['sid', 'sessid', 'sessionid', 'session', 'jwt', ...[...KEYS, 'session'].map((of) => `${of}key`)],
  ].join('|')})$`,
);

/**
 * Whether a name says that its value is a credential.
 *
 * @param except names, in lower case, that a surface says are not credentials
 */
export function isCredential(name: string, except?: ReadonlySet<string>): boolean {
  const whole = name.toLowerCase();
  if (ALWAYS_CREDENTIALS.has(whole)) return true;
  if (except?.has(whole)) return false;
  if (WHOLE.has(whole)) return true;
  const parts = partsOf(name);
  // not `passThrough`
  if (parts.at(-1) === 'pass') return true;
  return parts.some(
    (part, i) =>
      PARTS.has(part) || ENDINGS.test(part) || (i > 0 && /^keys?$/.test(part) && KEYS.has(parts[i - 1] as string)),
  );
}

/** `accessToken`, `access_token`, `ACCESS-TOKEN` and `user[accessToken]` have the part `token`. */
function partsOf(name: string): string[] {
  return name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((part) => part !== '');
}

/** The name of a credential in a request's target, or null: in its query, in `;name=value` of its path, before an `@`. */
export function credentialInTarget(target: string, except?: ReadonlySet<string>): string | null {
  if (/^[a-z][a-z\d+.-]*:[\\/]{2}[^\\/?#]*@/i.test(target)) return 'user';
  for (const pair of target.split(/[?&;]/).slice(1)) {
    const end = pair.indexOf('=');
    if (end < 0) continue;
    const name = plain(pair.slice(0, end));
    if (isCredential(name, except)) return name;
  }
  return null;
}

/** An escaped name is the same name to the service. One that cannot be read is read as far as it goes. */
function plain(name: string): string {
  if (!name.includes('%')) return name;
  return name.replace(/%([0-7][\dA-Fa-f])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
