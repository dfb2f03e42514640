#!/usr/bin/env bash
# The checklist by hand, as a careful person writes it: every answer is looked at, the flag is read back, the database's
# counters are compared over one second. Nothing is undone, and nothing is journalled but what the end needs.
set -euo pipefail
http() { curl -sS --fail-with-body --max-time 10 -H 'Content-Type: application/json; charset=utf-8' "$@"; }
redis() { redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }
counters() {
  psql -X -q -A -t -d "$DATABASE_URL" -c "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) from pg_stat_user_tables where relname <> 'heartbeat'"
}
flag='{"version":1,"holders":{"by-hand":{"environment":"prod","reason":"by hand"}}}'

[ -z "$(redis get maint:read_only)" ]
redis set maint:read_only "$flag" >/dev/null
[ "$(redis get maint:read_only)" = "$flag" ]

http -H "Authorization: OAuth $TOKEN" -d @incident.json "$PAGE/v1/pages/bench/incidents" >incident.out &
page=$!
http -H "Authorization: Bearer $TOKEN" -d @message.json "$CHAT/api/chat.postMessage" >message.out &
chat=$!
wait $page
wait $chat
jq -e .ok message.out >/dev/null

now=$(date -u +%FT%TZ)
later=$(date -u -d '+90 minutes' +%FT%TZ)
http -d "{\"matchers\":[{\"name\":\"alertname\",\"value\":\"WritesRefused\",\"isRegex\":false}],\"startsAt\":\"$now\",\"endsAt\":\"$later\",\"createdBy\":\"by hand\",\"comment\":\"maintenance\"}" \
  "$ALERTS/api/v2/silences" | jq -er .silenceID >silence.out

cp crontab crontab.before
sed -i '/heartbeat.sh/!s/^[^#]/# &/' crontab

http -o /dev/null -X PURGE "$API/banner"
[ "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 10 -H 'Content-Type: application/json' -d '{}' "$API/documents")" = 503 ]

before=$(counters)
sleep 1
[ "$(counters)" = "$before" ]
echo "$before" >counters.out
