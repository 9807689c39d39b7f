/** A message that does not keep to the protocol; its text is a sentence for the user. */
export class ProtocolError extends Error {}
