// What every flag has in common: one document with many holders, of which ours is the resource. A backend says how the
// document is read and how it is replaced if nobody else has replaced it meanwhile.
//
// The document goes with its last holder, unless it was there before the first one: then it stays, as it was.
import type { z } from 'zod';
import { defineResource, type Holder, type Resource, Unknown, type Window, whileHeld } from '../../engine/contract.ts';
import type { Reader, Writer } from '../../engine/io.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { BrokenDocument, FlagState, type RawHolder, readHolders, withHolder } from './document.ts';

/** The document as it was read; `version` is what the backend compares with. */
export interface Seen<V> {
  /** null: not there, or only the empty document that the end of a window leaves for a time */
  text: string | null;
  version: V;
}

export interface FlagBackend<P, V> {
  name: string;
  summary: string;
  Params: z.ZodType<P>;
  example: Record<string, unknown>;
  address(params: P): string;
  local?: boolean;
  /** what stays behind for a time once nobody holds any more */
  leaves?: string;
  /** Guards take a document that vanished for lost data, and wait for the one that an end leaves. */
  saysEnded?: boolean;
  /** What cannot be read for want of a right or of a place to read from: an Unknown. */
  read(io: Reader, params: P): Promise<Seen<V> | Unknown>;
  /** null: nothing is left there. Throws Stale where it is not as `seen` any more. */
  replace(io: Writer, params: P, seen: Seen<V>, text: string | null): Promise<void>;
  allowed?(io: Reader, params: P): Promise<string[]>;
  /** how read and allowed ask */
  asks?: string;
}

export function defineFlag<P, V>(backend: FlagBackend<P, V>): Resource<P, FlagState> {
  const { name, summary, Params, example, address, local, leaves, allowed } = backend;

  /** Throws where it cannot be seen. */
  async function look(io: Reader, params: P): Promise<{ seen: Seen<V>; holders: Map<string, RawHolder> }> {
    const seen = await backend.read(io, params);
    if (seen instanceof Unknown) throw new NoDocument(seen.why);
    try {
      return { seen, holders: readHolders(seen.text) };
    } catch (error) {
      if (!(error instanceof BrokenDocument)) throw error;
      throw new NoDocument(
        `${address(params)} is no flag document: ${error.message}; nothing is written over it. A flag document is {"version":1,"holders":{}}, or not there at all`,
      );
    }
  }

  return defineResource<P, FlagState>({
    name,
    role: 'wall',
    summary,
    Params,
    State: FlagState,
    example,
    address,
    marked: true,
    ...(local === undefined ? {} : { local }),
    ...(leaves === undefined ? {} : { leaves }),
    ...(backend.saysEnded === undefined ? {} : { saysEnded: backend.saysEnded }),
    ...(allowed === undefined ? {} : { allowed }),
    ...(backend.asks === undefined ? {} : { asks: backend.asks }),

    compare: 'server',
    tells: true,
    layer: 'service',

    async observe(io, params, { window }) {
      try {
        const { seen, holders } = await look(io, params);
        const state = holders.has(window.id) ? stateOf(holders.get(window.id)) : null;
        return new Map([[window.id, { state, handle: seen }]]);
      } catch (error) {
        if (!(error instanceof NoDocument)) throw error;
        return new Map([[window.id, new Unknown(error.message, true)]]);
      }
    },

    desired: whileHeld(({ window }) => holderOf(window)),

    // whatever somebody edited in it: a guard refuses while our holder is there
    closed: (state) => state !== null,

    async write(io, params, changes) {
      const { id, to, handle } = changes[0]!;
      const seen = handle as Seen<V>;
      await backend.replace(io, params, seen, withHolder(seen.text, id, to));
      return [to];
    },

    async holders(io, params) {
      const { holders } = await look(io, params);
      return [...holders].map(([id, raw]): Holder => {
        const state = stateOf(raw);
        const { environment, reason } = state;
        return { id, environment, since: instant(state.since), until: instant(state.until), reason, state };
      });
    },

    notes({ window, seen, changes, when }) {
      const change = changes.at(-1);
      if (!change) {
        const is = seen.get(window.id);
        if (is instanceof Unknown) return [is.why];
        return [is ? `our holder is there, until ${clock(is.until)}` : 'our holder is not there'];
      }
      const { from, to } = change;
      if (when === 'plan') {
        if (to === null) return ['our holder, removed'];
        const was = from && from.until !== to.until ? ` (now ${clock(from.until)})` : '';
        return [`our holder, until ${clock(to.until)}${was}`];
      }
      if (to === null) return ['our holder removed, read back'];
      return [from === null ? 'written, read back' : `until ${clock(to.until)}, read back`];
    },
  });
}

class NoDocument extends OuterError {
  constructor(message: string) {
    super(message, { effect: 'none', retryable: false });
  }
}

/** What the flag says of a window. */
export function holderOf(window: Window): FlagState {
  return {
    environment: window.environment,
    since: window.since,
    until: window.until,
    reason: window.reason,
    contact: window.contact,
    ...(window.statusPage === undefined ? {} : { status_page: window.statusPage }),
    on_expiry: window.onExpiry,
    ...(window.note === undefined ? {} : { note: window.note }),
    ...(window.carrier === undefined ? {} : { carried_by: window.carrier }),
  };
}

/** As the guard reads it: somebody who holds holds, whatever the details look like. */
function stateOf(raw: RawHolder): FlagState {
  const fields = typeof raw === 'object' && raw !== null ? (raw as Record<string, unknown>) : {};
  const text = (key: string) => (typeof fields[key] === 'string' ? (fields[key] as string) : '');
  const statusPage = text('status_page');
  return {
    environment: text('environment'),
    since: text('since'),
    until: text('until'),
    reason: text('reason'),
    contact: text('contact'),
    ...(statusPage === '' ? {} : { status_page: statusPage }),
    on_expiry: fields['on_expiry'] === 'open' ? 'open' : 'hold',
    ...(text('note') === '' ? {} : { note: text('note') }),
    ...(text('carried_by') === '' ? {} : { carried_by: text('carried_by') }),
  };
}

/** A time that can be shown, also of a holder that has none: it holds without an end. */
function instant(time: string): string {
  return Number.isNaN(Date.parse(time)) ? '9999-12-31T23:59:59.000Z' : time;
}

/** "02:30Z"; seconds only where there are some. */
function clock(time: string): string {
  if (Number.isNaN(Date.parse(time))) return 'an unknown time';
  const text = new Date(time).toISOString().slice(11, 19);
  return `${text.endsWith(':00') ? text.slice(0, 5) : text}Z`;
}
