// jest's transformer: Node's own type stripping keeps every position true and needs no TypeScript API.
const { stripTypeScriptTypes } = require('node:module');
module.exports = { process: (source) => ({ code: stripTypeScriptTypes(source, { mode: 'strip' }) }) };
