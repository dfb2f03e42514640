#!/usr/bin/env node
// Plain JavaScript that every Node can parse: it answers --version by itself, and says in one line what an old Node lacks.
import module from 'node:module';

// not by node:fs: an import of it loads the streams as well, which nothing here needs
const pjson = module.createRequire(import.meta.url)('../package.json');
const major = Number(process.versions.node.split('.')[0]);
const [first] = process.argv.slice(2);
if (process.argv.length === 3 && (first === '--version' || first === '-v' || first === 'version')) {
  // a full disk is not a bug, and a reader that has left is not an error
  process.stdout.on('error', ({ code }) => {
    if (code !== 'EPIPE') process.exitCode = 74;
  });
  process.stdout.write(`maint/${pjson.version} ${process.platform}-${process.arch} node-${process.version}\n`);
} else if (major < 24) {
  // no name of a package: nobody's registry has to be trusted for it. A checkout brings its own Node.
  const require = module.createRequire(import.meta.url);
  const own = `${require('node:url').fileURLToPath(new URL('..', import.meta.url))}node_modules/.bin/node`;
  const word = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);
  const next = require('node:fs').existsSync(own)
    ? [own, ...process.argv.slice(1)].map(word).join(' ')
    : 'install Node 24 or later (https://nodejs.org/en/download), then the same command again';
  process.stderr.write(`maint needs Node 24 or later, and this is ${process.version}.\nNext: ${next}\n`);
  process.exitCode = 64;
} else {
  // Libraries ask for a home and a shell while they are loaded; a uid without a name has none, and needs none here.
  const os = process.getBuiltinModule('node:os');
  const { homedir, userInfo } = os;
  os.homedir = () => orElse(homedir, os.tmpdir);
  os.userInfo = (options) =>
    orElse(
      () => userInfo(options),
      () => ({ username: '', uid: process.getuid(), gid: process.getgid(), shell: null, homedir: '' }),
    );
  module.enableCompileCache();
  const { main } = await import('../dist/main.js');
  await main(import.meta.url, pjson);
}

function orElse(ask, other) {
  try {
    return ask();
  } catch {
    return other();
  }
}
