/** The version of the protocol, of which both sides have to be. */
import { ProtocolError } from "./errors";

export const VERSION = 2;

/** Throws ProtocolError with a sentence where a message is of another. */
export function checkVersion(content: unknown): void {
  const version = (content as { v?: unknown } | null)?.v;
  if (version === VERSION) return;
  throw new ProtocolError(
    `The kernel speaks version ${String(version)} of the protocol and this page version ${VERSION}. ` +
      "Restart the kernel and reload the page, so that both come from the same patchwidget.",
  );
}
