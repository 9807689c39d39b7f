/** What a notebook or a file has kept of a lab: a `hello` and its buffers, as base64 texts. */

export interface Stored {
  content: unknown;
  buffers: DataView[];
}

export function readStored(value: unknown): Stored | null {
  const stored = value as { content?: unknown; buffers?: unknown } | null | undefined;
  if (!stored?.content || !Array.isArray(stored.buffers)) return null;
  return { content: stored.content, buffers: stored.buffers.map(bytes) };
}

function bytes(text: unknown): DataView {
  const binary = atob(String(text));
  return new DataView(Uint8Array.from(binary, (character) => character.charCodeAt(0)).buffer);
}
