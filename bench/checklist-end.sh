#!/usr/bin/env bash
# The way back by hand: the counters once more, the flag gone and looked for, the soak, and everything else as it was.
set -euo pipefail
http() { curl -sS --fail-with-body --max-time 10 -H 'Content-Type: application/json; charset=utf-8' "$@"; }
redis() { redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }
counters() {
  psql -X -q -A -t -d "$DATABASE_URL" -c "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) from pg_stat_user_tables where relname <> 'heartbeat'"
}
tell() {
  http -X PATCH -H "Authorization: OAuth $TOKEN" -d "{\"incident\":{\"status\":\"$1\",\"body\":\"$2\"}}" "$PAGE/v1/pages/bench/incidents/$(jq -er .id incident.out)" >/dev/null &
  page=$!
  http -H "Authorization: Bearer $TOKEN" -d "{\"channel\":\"$(jq -er .channel message.out)\",\"thread_ts\":\"$(jq -er .ts message.out)\",\"text\":\"$2\"}" "$CHAT/api/chat.postMessage" | jq -e .ok >/dev/null &
  chat=$!
  wait $page
  wait $chat
}

[ "$(counters)" = "$(cat counters.out)" ]
redis del maint:read_only >/dev/null
[ -z "$(redis get maint:read_only)" ]
http -o /dev/null -X PURGE "$API/banner"
tell monitoring 'Writes work again.'
[ "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 10 -H 'Content-Type: application/json' -d '{}' "$API/documents")" = 422 ]
sleep 1
tell resolved 'All done.'
mv crontab.before crontab
http -o /dev/null -X DELETE "$ALERTS/api/v2/silence/$(cat silence.out)"
http "$ALERTS/api/v2/silence/$(cat silence.out)" | jq -e '.status.state == "expired"' >/dev/null
