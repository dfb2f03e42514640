// Whether a secret is somewhere where it must not be, in any form in which protocols and tools write it.
/** The forms of one secret. Base64 has three, by where it begins in what is encoded; their cores are what all have in common. */
export function formsOf(secret: string): { form: string; text: string }[] {
  const bytes = Buffer.from(secret);
  const forms = [
    { form: 'plain', text: secret },
    { form: 'URL-encoded', text: encodeURIComponent(secret) },
    {
      form: 'URL-encoded, in lower case',
      text: encodeURIComponent(secret).replace(/%../g, (hex) => hex.toLowerCase()),
    },
    { form: 'as in a form', text: new URLSearchParams({ x: secret }).toString().slice(2) },
    { form: 'as in JSON', text: JSON.stringify(secret).slice(1, -1) },
    { form: 'twice as in JSON', text: JSON.stringify(JSON.stringify(secret)).slice(3, -3) },
    { form: 'hexadecimal', text: bytes.toString('hex') },
  ];
  for (const lead of [0, 1, 2]) {
    const whole = Buffer.concat([Buffer.alloc(lead), bytes]);
    const core = whole.subarray(lead === 0 ? 0 : 3, whole.length - (whole.length % 3));
    if (core.length < 6) continue;
    forms.push(
      { form: 'base64', text: core.toString('base64') },
      { form: 'base64url', text: core.toString('base64url') },
    );
  }
  return forms.filter((one, n) => forms.findIndex((other) => other.text === one.text) === n);
}

/** What is found, one line each. `where`: name -> content. */
export function leaksOf(
  secrets: Readonly<Record<string, string>>,
  where: Readonly<Record<string, string | Buffer>>,
): string[] {
  const found: string[] = [];
  for (const [name, secret] of Object.entries(secrets)) {
    for (const { form, text } of formsOf(secret)) {
      for (const [place, content] of Object.entries(where))
        if (content.includes(text)) found.push(`${name} is in ${place}, ${form}`);
    }
  }
  return found;
}
