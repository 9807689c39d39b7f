/** A message that does not keep to the protocol; its text is a sentence for the user. */
export class ProtocolError extends Error {}

export function unreadable(what: string): never {
  throw new ProtocolError(`A message of the kernel could not be read: ${what}.`);
}
