import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { OwnAnswer } from './exchange.ts';

/** A listener of `upgrade` of a node:http server. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => unknown;

/** @param refusal the answer to this upgrade, or null where it may go on */
export function guardUpgrade(
  refusal: (request: IncomingMessage) => OwnAnswer | null,
  listener: UpgradeListener,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  return (request, socket, head) => {
    const answer = refusal(request);
    if (!answer) {
      listener(request, socket, head);
      return;
    }
    // Node has handed the bare socket over: nobody else listens to its errors.
    socket.on('error', () => socket.destroy());
    const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const start = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\n`;
    socket.end(`${start}${lines.join('')}Connection: close\r\n\r\n${answer.body}`);
  };
}
