// A file in which everything stands that a surface can say.
export const EVERYTHING = `version: 1
shortest_token_life: 15m
surfaces:
  - name: notes
    kind: http
    match: { methods: [POST], path: "/tenants/:tenant/notes" }
    disposition: buffer
    order: { param: tenant }
    tenant: { header: X-Account }
    key: header
    credential: service
    keep_headers: [X-Trace-Id]
    not_credentials: [X-Session-Kind]
    max_bytes: 65536
    owner: search-team
    canary: { method: POST, path: /tenants/canary/notes, body: {} }
  - { name: imports, kind: http, match: { methods: [PUT], path: "/imports/:id?" }, disposition: buffer, key: content }
  - { name: graphql, kind: graphql, match: { path: /graphql } }
  - { name: recount, kind: graphql, match: { path: /counts, methods: [POST], operations: [mutation, "query:Recount"] }, disposition: refuse, status: 423 }
  - { name: introspect, kind: graphql, match: { path: /schema }, disposition: pass }
  - { name: mail, kind: tool, match: { names: [send_mail, "crm.*"] } }
  - { name: ingest, kind: job, match: { names: ["*"] }, disposition: drop }
  - { name: vectors, kind: vector, match: { methods: [PUT], path: "/vectors/*", names: [vectors.upsert] }, disposition: refuse }
  - { name: cache, kind: kv, match: { names: [kv.set] }, disposition: drop }
  - { name: last-seen, kind: http, match: { methods: [POST], path: /seen }, disposition: drop, status: 204 }
  - { name: refresh, kind: http, match: { methods: [POST], path: /token }, disposition: pass, purpose: token_refresh }
`;
