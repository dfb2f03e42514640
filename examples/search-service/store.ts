// The documents, their full-text index and their vectors, in one SQLite file.
import { DatabaseSync } from 'node:sqlite';
import { FENCE_SQL, type FenceAnswer, type FencedAnswer, fenced } from '../../packages/guard/src/index.ts';
import { cosine, DIMENSIONS, embed, normalized, words } from './embed.ts';

interface Document {
  id: string;
  title: string;
  body: string;
  updated_at: string;
}
interface Found {
  id: string;
  title: string;
  snippet: string;
}
interface Near {
  id: string;
  title: string | null;
  score: number;
}
interface Note {
  text: string;
  at: string;
}
export type Store = ReturnType<typeof openStore>;

const SCHEMA = `
  create table if not exists documents (id text primary key, title text not null, body text not null, updated_at text not null) strict;
  create virtual table if not exists documents_text using fts5 (id unindexed, title, body);
  create table if not exists vectors (id text primary key, embedding blob not null) strict;
  create table if not exists notes (id integer primary key, document text not null, text text not null, at text not null) strict;
  create table if not exists heartbeat (id integer primary key, at text not null) strict;
`;

export function openStore(path: string) {
  const db = new DatabaseSync(path, { timeout: 2000 });
  db.exec('pragma journal_mode = wal; pragma synchronous = normal');
  db.exec(SCHEMA);
  db.exec(FENCE_SQL.sqlite.table);
  // Its transaction stays open while `fenced` awaits, so it has a connection that nobody else writes through.
  const fence = new DatabaseSync(path, { timeout: 2000 });
  const addNote = fence.prepare('insert into notes (document, text, at) values (?, ?, ?)');
  const insertKey = fence.prepare(FENCE_SQL.sqlite.insert);
  const findKey = fence.prepare(FENCE_SQL.sqlite.find);
  const completeKey = fence.prepare(FENCE_SQL.sqlite.complete);
  const keys = {
    insert: (key: string, fingerprint: string) => insertKey.run(key, fingerprint).changes === 1,
    find: (key: string) => findKey.get(key) as { fingerprint: string; answer: string | null } | undefined,
    complete: (key: string, answer: string | null) => completeKey.run(answer, key),
  };
  let turn: Promise<unknown> = Promise.resolve();
  const listNotes = db.prepare('select text, at from notes where document = ? order by id');
  const get = db.prepare('select id, title, body, updated_at from documents where id = ?');
  const upsert = db.prepare(
    `insert into documents (id, title, body, updated_at) values (?, ?, ?, ?)
     on conflict (id) do update set title = excluded.title, body = excluded.body, updated_at = excluded.updated_at`,
  );
  const drop = db.prepare('delete from documents where id = ?');
  const index = db.prepare('insert into documents_text (id, title, body) values (?, ?, ?)');
  const unindex = db.prepare('delete from documents_text where id = ?');
  const match = db.prepare(
    `select id, title, snippet(documents_text, 2, '', '', ' … ', 24) as snippet from documents_text
     where documents_text match ? order by rank limit ?`,
  );
  const upsertVector = db.prepare(
    'insert into vectors (id, embedding) values (?, ?) on conflict (id) do update set embedding = excluded.embedding',
  );
  const dropVector = db.prepare('delete from vectors where id = ?');
  const vectors = db.prepare('select v.id, d.title, v.embedding from vectors v left join documents d on d.id = v.id');
  const count = db.prepare('select count(*) as n from documents');
  const beat = db.prepare(
    'insert into heartbeat (id, at) values (1, ?) on conflict (id) do update set at = excluded.at',
  );

  function atOnce<T>(work: () => T): T {
    db.exec('begin immediate');
    try {
      const result = work();
      db.exec('commit');
      return result;
    } catch (error) {
      db.exec('rollback');
      throw error;
    }
  }

  async function applyOnce(key: string, fingerprint: string, effect: () => FenceAnswer): Promise<FencedAnswer> {
    fence.exec('begin immediate');
    try {
      const answer = await fenced(keys, { key, fingerprint }, effect);
      fence.exec('commit');
      return answer;
    } catch (error) {
      fence.exec('rollback');
      throw error;
    }
  }

  return {
    notes: (document: string) => listNotes.all(document) as unknown as Note[],
    /** For the effect of `once`, and in its transaction. */
    addNote(document: string, text: string): Note {
      const note = { text, at: new Date().toISOString() };
      addNote.run(document, note.text, note.at);
      return note;
    },
    /** The effect and its key in one transaction, one after the other: the same key again gets the same answer. */
    once(key: string, fingerprint: string, effect: () => FenceAnswer): Promise<FencedAnswer> {
      const mine = turn.then(() => applyOnce(key, fingerprint, effect));
      turn = mine.catch(() => {});
      return mine;
    },
    /** Any of the words, best first. */
    search(query: string, limit = 10): Found[] {
      const asked = words(query).slice(0, 16);
      if (asked.length === 0) return [];
      // Quoted, so that nothing that a person types is read as an operator.
      return match.all(asked.map((word) => `"${word}"`).join(' OR '), limit) as unknown as Found[];
    },
    /** By the cosine of the vectors, nearest first. */
    nearest(text: string, limit = 5): Near[] {
      const asked = embed(text);
      const all = (vectors.all() as { id: string; title: string | null; embedding: Uint8Array }[]).map((row) => ({
        id: row.id,
        title: row.title,
        score: Number(cosine(asked, fromBytes(row.embedding)).toFixed(4)),
      }));
      return all.sort((a, b) => b.score - a.score).slice(0, limit);
    },
    document: (id: string) => get.get(id) as Document | undefined,
    documents: () => (count.get() as { n: number }).n,
    /** @returns whether it is new */
    putDocument(id: string, title: string, body: string): boolean {
      return atOnce(() => {
        const isNew = get.get(id) === undefined;
        upsert.run(id, title, body, new Date().toISOString());
        unindex.run(id);
        index.run(id, title, body);
        upsertVector.run(id, toBytes(embed(`${title} ${body}`)));
        return isNew;
      });
    },
    /** @returns whether it was there */
    removeDocument(id: string): boolean {
      return atOnce(() => {
        unindex.run(id);
        dropVector.run(id);
        return drop.run(id).changes > 0;
      });
    },
    putVector(id: string, vector: Float32Array): void {
      upsertVector.run(id, toBytes(normalized(vector)));
    },
    /** A write for whoever measures replication lag by it. */
    beat: () => void beat.run(new Date().toISOString()),
    async close(): Promise<void> {
      await turn;
      fence.close();
      db.close();
    },
  };
}

function toBytes(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}
function fromBytes(bytes: Uint8Array): Float32Array {
  // Copied: the blob need not begin where a float may.
  const copy = bytes.slice();
  return new Float32Array(copy.buffer, 0, Math.min(DIMENSIONS, copy.byteLength >> 2));
}
