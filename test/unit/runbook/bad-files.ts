// Bad runbooks, and every word that is said about them, places included.
const TOP = 'version: 1\nenvironment: prod\ncontact: "#ops"\n';
const top = (line: string) => `${TOP}${line}\nsteps:\n  - { uses: flag/file, with: { path: f } }\n`;
const step = (line: string) => `${TOP}steps:\n  - { id: good, uses: flag/file, with: { path: f } }\n  - ${line}\n`;
const env = (line: string) =>
  `${TOP}steps:\n  - { uses: flag/file, with: { path: f } }\n  - { uses: notice/statuspage, with: { page: a, token: "\${T}" } }\nenvironments:\n  ${line}\n`;
/** What each file is, its text, and its problems without the file's name. */
export const BAD_FILES: readonly [string, string, string[]][] = [
  ['an empty file', '', ['1:1  is empty  found nothing  allowed a map that begins with version: 1']],
  [
    'blanks and comments only',
    '# nothing\n\n',
    ['1:1  is empty  found nothing  allowed a map that begins with version: 1'],
  ],
  ['null', '~\n', ['1:1  is empty  found nothing  allowed a map that begins with version: 1']],
  ['a list', '- a\n- b\n', ['1:1  has the wrong type  found a list  allowed a map']],
  ['a word', 'hello\n', ['1:1  has the wrong type  found "hello"  allowed a map']],
  ['a binary file', 'version: 1\0\u0001', ['1:1  is no text  found a binary file  allowed YAML in UTF-8']],
  [
    'two documents',
    `${TOP}steps:\n  - { uses: flag/file, with: { path: f } }\n---\nversion: 1\n`,
    ['6:1  holds several YAML documents  found a second document  allowed one'],
  ],
  [
    'a tab in the indentation',
    `${TOP}steps:\n\t- { uses: flag/file }\n`,
    [
      '5:1  is no valid YAML: a tab in the indentation; use spaces  found "- { uses: flag/file }"',
      '5:12  steps[0].with.path  is missing  allowed the flag file',
    ],
  ],
  [
    'a bracket that is never closed',
    `${TOP}steps:\n  - { uses: flag/file, with: { path: f }\n`,
    [
      '6:1  is no valid YAML: the indentation does not fit, or a bracket is not closed  found "- { uses: flag/file, with: { path: f }"',
    ],
  ],
  [
    'a quote that is never closed',
    `version: 1\nenvironment: "prod\ncontact: x\n`,
    [
      '2:14  environment  has the wrong form  found "prod contact: x"  allowed letters, digits, - _ and ., at most 60, beginning with a letter or digit',
      '4:1  is no valid YAML: a quote, comma or bracket is missing  found "contact: x"',
    ],
  ],
  [
    'a syntax error after another problem',
    `version: 2\nenvironment: prod\ncontact: x\nsteps:\n  - { uses: flag/file, with: { path: f }\n`,
    [
      '1:10  version  is not one of the values  found 2  allowed 1',
      '6:1  is no valid YAML: the indentation does not fit, or a bracket is not closed  found "- { uses: flag/file, with: { path: f }"',
    ],
  ],
  [
    'a key that is there twice',
    top('environment: staging'),
    ['4:1  environment  is there twice, first in line 2  found "environment"  allowed once'],
  ],
  [
    'a merge key',
    `${TOP}x: &x { path: f }\nsteps:\n  - { uses: flag/file, with: { <<: *x } }\n`,
    [
      '4:1  x  is not known here  found "x"  allowed version, name, environment, budget, soak, order, on_expiry, contact, status_page, rollback_plan, overdue_notice, surfaces, steps, environments',
      '6:30  steps[0].with.path  is missing  allowed the flag file',
      '6:32  steps[0].with["<<"]  merge keys are not read  found <<  allowed the keys themselves, or an alias for a whole value',
    ],
  ],
  [
    'an alias without anchor',
    step('{ id: b, uses: flag/redis, with: { url: *nowhere } }'),
    ['6:45  steps[1].with.url  is an alias without its anchor  found "*nowhere"'],
  ],
  [
    'a tag',
    step('{ id: b, uses: flag/redis, with: { url: !secret x } }'),
    [
      '6:45  is no valid YAML: tags (!name) are not read',
      '6:53  steps[1].with.url  has the wrong form  found "x"  allowed an address like https://host, redis://host:6379, postgres://host/db, or "${VAR}"',
    ],
  ],
  [
    'a key that is a list',
    step('{ id: b, uses: flag/redis, with: { [a]: 1 } }'),
    [
      '6:38  steps[1].with.url  is missing  allowed the address of the service, without the path of its API',
      '6:40  steps[1].with  cannot be a key  found a list, a map or nothing  allowed a name',
    ],
  ],
  [
    'nested too deeply',
    `version: ${'['.repeat(500)}${']'.repeat(500)}\n`,
    ['1:410  is nested too deeply  allowed 40 levels'],
  ],
  [
    'another version',
    top('').replace('version: 1', 'version: 3'),
    ['1:10  version  is not one of the values  found 3  allowed 1'],
  ],
  [
    'a version in quotes',
    top('').replace('version: 1', 'version: "1"'),
    ['1:10  version  is not one of the values  found "1"  allowed 1'],
  ],
  [
    'no version, contact, steps',
    'environment: prod\n',
    [
      '1:1  version  is missing  allowed 1',
      '1:1  contact  is missing  allowed who to ask, in every notice and in the flag: a channel, an address, a person',
      '1:1  steps  is missing  allowed in this order at start; the order of the end is derived',
    ],
  ],
  [
    'an unknown key, and its nearest',
    top('budgte: 30s'),
    [
      '4:1  budgte  is not known here  found "budgte"  allowed version, name, environment, budget, soak, order, on_expiry, contact, status_page, rollback_plan, overdue_notice, surfaces, steps, environments  did you mean budget?',
    ],
  ],
  [
    'budget 0',
    top('budget: 0'),
    ['4:9  budget  has the wrong type  found 0  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'budget 0s',
    top('budget: 0s'),
    ['4:9  budget  is out of range  found "0s"  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'budget -5m',
    top('budget: -5m'),
    ['4:9  budget  has the wrong form  found "-5m"  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'soak 5',
    top('soak: 5'),
    ['4:7  soak  has the wrong type  found 5  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'soak 1e9h',
    top('soak: 1e9h'),
    ['4:7  soak  has the wrong form  found "1e9h"  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'soak 999d',
    top('soak: 999d'),
    ['4:7  soak  is out of range  found "999d"  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'on_expiry',
    top('on_expiry: close'),
    ['4:12  on_expiry  is not one of the values  found "close"  allowed hold, open'],
  ],
  [
    'an environment with a blank',
    top('').replace('environment: prod', 'environment: pr od'),
    [
      '2:14  environment  has the wrong form  found "pr od"  allowed letters, digits, - _ and ., at most 60, beginning with a letter or digit',
    ],
  ],
  ['an empty contact', top('').replace('"#ops"', '""'), ['3:10  contact  is empty  found ""  allowed text, not empty']],
  [
    'contact forgotten quotes',
    top('').replace('"#ops"', '#ops'),
    [
      '3:10  contact  has the wrong type  found nothing  allowed text: who to ask, in every notice and in the flag: a channel, an address, a person',
    ],
  ],
  [
    'a status page that is no address',
    top('status_page: status.example.com'),
    [
      '4:14  status_page  has the wrong form  found "status.example.com"  allowed an address like https://status.example.com, or "${VAR}"',
    ],
  ],
  [
    'a password in the status page',
    top('status_page: "https://a:hunter2@status.example.com"'),
    [
      '4:14  status_page  holds a password, and is told to everybody  found "https://a:***@status.example.com"  allowed an address without one',
    ],
  ],
  [
    'steps that are a map',
    `${TOP}steps: { uses: flag/file }\n`,
    ['4:8  steps  has the wrong type  found a map  allowed a list'],
  ],
  ['no steps', `${TOP}steps: []\n`, ['4:8  steps  is out of range  found an empty list  allowed at least 1 entry']],
  ['a step that is a word', step('flag/file'), ['6:5  steps[1]  has the wrong type  found "flag/file"  allowed a map']],
  [
    'a step without uses',
    step('{ id: b, with: {} }'),
    ['6:5  steps[1].uses  is missing  allowed the plugin: family/backend'],
  ],
  [
    'an unknown plugin',
    step('{ id: b, uses: flag/reids, with: { url: x } }'),
    ['6:20  steps[1].uses  is no plugin  found "flag/reids"  allowed PLUGINS  did you mean flag/redis?'],
  ],
  [
    'a backend without its family',
    step('{ id: b, uses: statuspage }'),
    ['6:20  steps[1].uses  is no plugin  found "statuspage"  allowed PLUGINS  did you mean notice/statuspage?'],
  ],
  [
    'an unknown key of a step',
    step('{ id: b, uses: flag/file, wiht: { path: f } }'),
    [
      '6:20  steps[1].with.path  is missing  allowed the flag file',
      '6:31  steps[1].wiht  is not known here  found "wiht"  allowed id, uses, with, deadline, release, on_failure, on_bad, pace, skip  did you mean with?',
    ],
  ],
  [
    'an unknown param',
    step('{ id: b, uses: flag/redis, with: { ur: "${REDIS_URL}" } }'),
    [
      '6:38  steps[1].with.url  is missing  allowed the address of the service, without the path of its API',
      '6:40  steps[1].with.ur  is not known here  found "ur"  allowed url, key  did you mean url?',
    ],
  ],
  [
    'a param of the wrong type',
    step('{ id: b, uses: notice/statuspage, with: { page: 5, token: "${T}" } }'),
    ['6:53  steps[1].with.page  has the wrong type  found 5  allowed text: the id of the page'],
  ],
  [
    'with that is a list',
    step('{ id: b, uses: flag/file, with: [path] }'),
    ['6:37  steps[1].with  has the wrong type  found a list  allowed a map'],
  ],
  [
    'with that is nothing',
    step('{ id: b, uses: flag/file, with: }'),
    ['6:37  steps[1].with  has the wrong type  found nothing  allowed a map'],
  ],
  [
    'no with where it is needed',
    step('{ id: b, uses: flag/redis }'),
    ['6:20  steps[1].with.url  is missing  allowed the address of the service, without the path of its API'],
  ],
  [
    'an address that is none',
    step('{ id: b, uses: flag/redis, with: { url: "localhost:6379" } }'),
    [
      '6:45  steps[1].with.url  has the wrong form  found "localhost:6379"  allowed an address like https://host, redis://host:6379, postgres://host/db, or "${VAR}"',
    ],
  ],
  [
    'a literal password in an address',
    step('{ id: b, uses: flag/redis, with: { url: "redis://app:hunter2@h:6379" } }'),
    [
      '6:45  steps[1].with.url  holds a password, which must not stand in the file  found "redis://app:***@h:6379"  allowed a password from "${VARIABLE}", or the whole address',
    ],
  ],
  [
    'a password as a default',
    step('{ id: b, uses: flag/redis, with: { url: "${U:-redis://app:hunter2@h:6379}" } }'),
    [
      '6:45  steps[1].with.url  holds a password, which must not stand in the file  found "${U:-redis://app:***@h:6379}"  allowed a password from "${VARIABLE}", or the whole address',
    ],
  ],
  [
    'a literal secret',
    step('{ id: b, uses: notice/statuspage, with: { page: a, token: hunter2 } }'),
    [
      '6:63  steps[1].with.token  is a secret and must not stand in the file  found a literal value, not shown  allowed "${VARIABLE}" or "${file:path}"',
    ],
  ],
  [
    'a number as secret',
    step('{ id: b, uses: notice/statuspage, with: { page: a, token: 12345678 } }'),
    [
      '6:63  steps[1].with.token  is a secret and must not stand in the file  found a literal value, not shown  allowed "${VARIABLE}" or "${file:path}"',
    ],
  ],
  [
    'a secret with a default',
    step('{ id: b, uses: notice/statuspage, with: { page: a, token: "${T:-hunter2}" } }'),
    [
      '6:63  steps[1].with.token  is a secret and must not stand in the file  found a variable with a literal default  allowed "${VARIABLE}" or "${file:path}"',
    ],
  ],
  [
    'a secret in a record',
    step('{ id: b, uses: cache/http, with: { url: "http://h", headers: { authorization: hunter2 } } }'),
    [
      '6:83  steps[1].with.headers.authorization  is a secret and must not stand in the file  found a literal value, not shown  allowed "${VARIABLE}" or "${file:path}"',
    ],
  ],
  [
    'a value of an enum',
    step('{ id: b, uses: cache/http, with: { url: "http://h", method: PURG } }'),
    [
      '6:65  steps[1].with.method  is not one of the values  found "PURG"  allowed PURGE, POST, DELETE  did you mean PURGE?',
    ],
  ],
  [
    'a number out of range',
    step('{ id: b, uses: crons/crontab, with: { most: 101 } }'),
    ['6:49  steps[1].with.most  is out of range  found 101  allowed a number, at most 100'],
  ],
  [
    'a number that is not whole',
    step('{ id: b, uses: crons/crontab, with: { most: 1.5 } }'),
    ['6:49  steps[1].with.most  has the wrong type  found 1.5  allowed a whole number'],
  ],
  [
    'a yes that is text',
    step('{ id: b, uses: crons/crontab, with: { quiet: yes } }'),
    ['6:50  steps[1].with.quiet  has the wrong type  found "yes"  allowed true or false'],
  ],
  [
    'a refinement',
    step('{ id: b, uses: crons/crontab, with: { user: a, file: b } }'),
    ['6:41  steps[1].with  takes user or file, not both'],
  ],
  [
    'an entry of a list',
    step('{ id: b, uses: crons/crontab, with: { keep: [a, 5] } }'),
    ['6:53  steps[1].with.keep[1]  has the wrong type  found 5  allowed text'],
  ],
  [
    'a key deep inside',
    step('{ id: b, uses: no-writes/postgres, with: { url: "${D}", allow: [{ tabel: x, because: y }] } }'),
    [
      '6:69  steps[1].with.allow[0].table  is missing  allowed text',
      '6:71  steps[1].with.allow[0].tabel  is not known here  found "tabel"  allowed table, because  did you mean table?',
    ],
  ],
  [
    'a duration among the params',
    step('{ id: b, uses: no-writes/postgres, with: { url: "${D}", for: 0 } }'),
    ['6:66  steps[1].with.for  has the wrong type  found 0  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'a union',
    step('{ id: b, uses: soak/http, with: { probes: [{ url: "http://h", expct: 200 }, 7, nope] } }'),
    [
      '6:48  steps[1].with.probes[0].expect  is missing  allowed a number',
      '6:67  steps[1].with.probes[0].expct  is not known here  found "expct"  allowed url, expect  did you mean expect?',
      '6:81  steps[1].with.probes[1]  is none of the forms  found 7  allowed text, or a map',
      '6:84  steps[1].with.probes[2]  has the wrong form  found "nope"  allowed an address like https://host, redis://host:6379, postgres://host/db, or "${VAR}"',
    ],
  ],
  [
    'a variable where a list is wanted',
    step('{ id: b, uses: crons/crontab, with: { keep: "${KEEP}" } }'),
    ['6:49  steps[1].with.keep  has the wrong type  found "${KEEP}"  allowed a list'],
  ],
  [
    'a variable that is none',
    step('{ id: b, uses: flag/redis, with: { url: "${REDIS-URL}" } }'),
    [
      '6:45  steps[1].with.url  is no variable  found "${REDIS-URL}"  allowed ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}; $${ for the characters themselves',
    ],
  ],
  [
    'a variable that is never closed',
    step('{ id: b, uses: flag/redis, with: { url: "${REDIS_URL" } }'),
    [
      '6:45  steps[1].with.url  is no variable  found "${REDIS_URL"  allowed ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path}; $${ for the characters themselves',
    ],
  ],
  [
    'a variable as a key',
    step('{ id: b, uses: cache/http, with: { url: "http://h", headers: { "${X}": "${Y}" } } }'),
    ['6:68  steps[1].with.headers["${X}"]  is a key; variables are read in values only  found "${X}"'],
  ],
  [
    'deadline -5m',
    step('{ id: b, uses: crons/crontab, deadline: -5m }'),
    [
      '6:45  steps[1].deadline  has the wrong form  found "-5m"  allowed a duration like 30s, 5m, 1h30m, at most 30 days',
    ],
  ],
  [
    'deadline 5',
    step('{ id: b, uses: crons/crontab, deadline: 5 }'),
    ['6:45  steps[1].deadline  has the wrong type  found 5  allowed a duration like 30s, 5m, 1h30m, at most 30 days'],
  ],
  [
    'pace',
    step('{ id: b, uses: crons/crontab, pace: 20 }'),
    [
      '6:41  steps[1].pace  has the wrong type  found 20  allowed text: how fast the end gives things back, like 20/min',
    ],
  ],
  [
    'pace per hour',
    step('{ id: b, uses: crons/crontab, pace: 20/h }'),
    ['6:41  steps[1].pace  has the wrong form  found "20/h"  allowed changes per minute, like 20/min'],
  ],
  [
    'skip without a reason',
    step('{ id: b, uses: crons/crontab, skip: true }'),
    ['6:41  steps[1].skip  has the wrong type  found true  allowed text: the reason for which this step is not done'],
  ],
  [
    'an id that is no name',
    step('{ id: "b c", uses: crons/crontab }'),
    [
      '6:11  steps[1].id  has the wrong form  found "b c"  allowed letters, digits, - _ and ., at most 60, beginning with a letter or digit',
    ],
  ],
  [
    'an id that is there twice',
    step('{ id: good, uses: crons/crontab }'),
    ['6:11  steps[1].id  is the id of steps[0] already  found "good"  allowed an id of its own'],
  ],
  [
    'a second step of a family without id',
    `${TOP}steps:\n  - { uses: flag/file, with: { path: f } }\n  - { uses: flag/redis, with: { url: "\${U}" } }\n`,
    [
      '6:13  steps[1].id  is missing, and steps[0] is called flag already  found "flag"  allowed an id of its own, like id: flag-2',
    ],
  ],
  [
    'release of a wall',
    step('{ id: b, uses: flag/redis, with: { url: "${U}" }, release: after-soak }'),
    ['6:64  steps[1].release  cannot be moved: a wall opens first  found release: after-soak  allowed reopen'],
  ],
  [
    'release of a check',
    step('{ uses: soak/quiet, release: reopen }'),
    [
      '6:34  steps[1].release  means nothing for soak/quiet: a check holds nothing  found release: reopen  allowed on resources only',
    ],
  ],
  [
    'release of an action',
    step('{ uses: backfill/late, release: reopen }'),
    [
      '6:37  steps[1].release  means nothing for backfill/late: an action holds nothing  found release: reopen  allowed on resources only',
    ],
  ],
  [
    'release of a notice',
    step('{ uses: notice/statuspage, with: { page: a, token: "${T}" }, release: reopen }'),
    ['6:75  steps[1].release  cannot be moved: a notice follows the phases by itself  found release: reopen'],
  ],
  [
    'release that is unknown',
    step('{ uses: crons/crontab, release: after-sok }'),
    [
      '6:37  steps[1].release  is not one of the values  found "after-sok"  allowed reopen, after-soak, after-backfill  did you mean after-soak?',
    ],
  ],
  [
    'on_failure of a check that does not run at start',
    step('{ uses: soak/quiet, on_failure: hold }'),
    [
      '6:37  steps[1].on_failure  means nothing for soak/quiet: it does not run at start  found on_failure: hold  allowed on_bad',
    ],
  ],
  [
    'on_bad of a resource',
    step('{ uses: crons/crontab, on_bad: hold }'),
    [
      '6:36  steps[1].on_bad  means nothing for crons/crontab: it is no check  found on_bad: hold  allowed on checks that run while soaking',
    ],
  ],
  [
    'on_bad of a check that does not watch the soak',
    step('{ uses: no-writes/postgres, with: { url: "${D}" }, on_bad: hold }'),
    [
      '6:64  steps[1].on_bad  means nothing for no-writes/postgres: it does not watch the soak  found on_bad: hold  allowed on checks that run while soaking',
    ],
  ],
  [
    'a wall inside another that stands before it',
    `${TOP}steps:\n  - { uses: datastore/postgres, with: { url: "\${D}" } }\n  - { uses: flag/file, with: { path: f } }\n`,
    [
      '6:13  steps[1].uses  closes outside datastore (datastore/postgres) but stands after it; walls close outside-in  found "flag/file"  allowed a place before datastore',
    ],
  ],
  [
    'a command as a wall, too late',
    `${TOP}steps:\n  - { uses: datastore/postgres, with: { url: "\${D}" } }\n  - { uses: command, with: { observe: [a], write: [b], role: wall } }\n`,
    [
      '6:13  steps[1].uses  closes outside datastore (datastore/postgres) but stands after it; walls close outside-in  found "command"  allowed a place before datastore',
    ],
  ],
  [
    'a drain before anything refuses writes',
    `${TOP}steps:\n  - { uses: drain/inflight }\n  - { uses: flag/file, with: { path: f } }\n`,
    [
      '6:13  steps[1].uses  closes outside drain (drain/inflight) but stands after it; walls close outside-in  found "flag/file"  allowed a place before drain',
    ],
  ],
  [
    'a drain after the store that cuts off what it waits for',
    `${TOP}steps:\n  - { uses: flag/file, with: { path: f } }\n  - { uses: datastore/postgres, with: { url: "\${D}" } }\n  - { uses: drain/inflight }\n`,
    [
      '7:13  steps[2].uses  closes outside datastore (datastore/postgres) but stands after it; walls close outside-in  found "drain/inflight"  allowed a place before datastore',
    ],
  ],
  [
    'a drain of what nothing refuses',
    `${TOP}steps:\n  - { uses: drain/inflight }\n  - { uses: datastore/postgres, with: { url: "\${D}" } }\n`,
    [
      '5:13  steps[0].uses  waits for the writes that were admitted before, and nothing before it refuses new ones  found "drain/inflight"  allowed a place after a flag or a gateway',
    ],
  ],
  [
    'a drain beside the wall that it waits for',
    `${TOP}steps:\n  - parallel:\n      - { uses: flag/file, with: { path: f } }\n      - { uses: drain/inflight }\n`,
    [
      '7:17  steps[0].parallel[1].uses  is in one parallel group with flag (flag/file); walls of different layers close one after the other  found "drain/inflight"  allowed a place of its own in the list',
    ],
  ],
  [
    'walls of two families at once',
    `${TOP}steps:\n  - parallel:\n      - { uses: flag/file, with: { path: f } }\n      - { uses: datastore/postgres, with: { url: "\${D}" } }\n`,
    [
      '7:17  steps[0].parallel[1].uses  is in one parallel group with flag (flag/file); walls of different layers close one after the other  found "datastore/postgres"  allowed a place of its own in the list',
    ],
  ],
  [
    'parallel in parallel',
    step('{ parallel: [{ parallel: [{ uses: crons/crontab }] }] }'),
    ['6:20  steps[1].parallel[0].parallel  is inside another parallel  found parallel  allowed one level'],
  ],
  [
    'parallel with nothing',
    step('{ parallel: [] }'),
    ['6:17  steps[1].parallel  is out of range  found an empty list  allowed at least 1 entry'],
  ],
  [
    'parallel with more keys',
    step('{ parallel: [{ uses: crons/crontab }], deadline: 5m }'),
    ['6:44  steps[1].deadline  is not known here  found "deadline"  allowed parallel'],
  ],
  [
    'an override of an unknown step',
    env('staging: { steps: { statuspgae: { skip: none } } }'),
    [
      '8:23  environments.staging.steps.statuspgae  is no step of this runbook  found "statuspgae"  allowed flag, statuspage  did you mean statuspage?',
    ],
  ],
  [
    'an override with values in the wrong place',
    env('staging: { steps: { statuspage: { page: b } } }'),
    [
      '8:37  environments.staging.steps.statuspage.page  is not known here  found "page"  allowed with, skip  did you mean with: { page: … }?',
    ],
  ],
  [
    'an override of the wrong type',
    env('staging: { steps: { statuspage: { with: { page: 7 } } } }'),
    [
      '8:51  environments.staging.steps.statuspage.with.page  has the wrong type  found 7  allowed text: the id of the page',
    ],
  ],
  [
    'an override of an unknown param',
    env('staging: { steps: { statuspage: { with: { pgae: b } } } }'),
    [
      '8:45  environments.staging.steps.statuspage.with.pgae  is not known here  found "pgae"  allowed url, page, token, components  did you mean page?',
    ],
  ],
  [
    'a literal secret in an override',
    env('staging: { steps: { statuspage: { with: { token: hunter2 } } } }'),
    [
      '8:52  environments.staging.steps.statuspage.with.token  is a secret and must not stand in the file  found a literal value, not shown  allowed "${VARIABLE}" or "${file:path}"',
    ],
  ],
  [
    'an unknown key of an environment',
    env('staging: { budget: 5m }'),
    [
      '8:14  environments.staging.budget  is not known here  found "budget"  allowed contact, status_page, rollback_plan, overdue_notice, steps',
    ],
  ],
  [
    'an environment that is no name',
    env('"a b": {}'),
    [
      '8:3  environments["a b"]  is no name of an environment  found "a b"  allowed letters, digits, - _ and ., at most 60, beginning with a letter or digit',
    ],
  ],
  [
    'surfaces that are a number',
    top('surfaces: 5'),
    [
      '4:11  surfaces  has the wrong type  found 5  allowed text: the file that names every way to write; relative to this file',
    ],
  ],
  [
    'several at once',
    `version: 1\nenvironment: prod\ncontact: 5\nbudget: soon\nsteps:\n  - { uses: flag/fiel, with: { path: f } }\n  - { uses: crons/crontab, deadline: 1e9h }\n`,
    [
      '3:10  contact  has the wrong type  found 5  allowed text: who to ask, in every notice and in the flag: a channel, an address, a person',
      '4:9  budget  has the wrong form  found "soon"  allowed a duration like 30s, 5m, 1h30m, at most 30 days',
      '6:13  steps[0].uses  is no plugin  found "flag/fiel"  allowed PLUGINS  did you mean flag/file?',
      '7:38  steps[1].deadline  has the wrong form  found "1e9h"  allowed a duration like 30s, 5m, 1h30m, at most 30 days',
    ],
  ],
];
