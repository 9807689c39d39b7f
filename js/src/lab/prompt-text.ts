/** A prompt as it is typed, cut into the tokens that are known of it. */

export interface Piece {
  text: string;
  /** Its position among the tokens; null where they are not known yet. */
  token: number | null;
}

/** Leading tokens that were not typed (a BOS), then the text piece by piece.  Where the text has gone on since, the rest
 *  is one piece without a token. */
export function cut(text: string, tokens: readonly string[]): { added: string[]; pieces: Piece[] } {
  const first = tokens.findIndex((token) => token !== "" && text.startsWith(token));
  const start = first < 0 ? tokens.length : first;
  const pieces: Piece[] = [];
  let at = 0;
  for (let i = start; i < tokens.length; i++) {
    const token = tokens[i] as string;
    if (token === "" || !text.startsWith(token, at)) break;
    pieces.push({ text: token, token: i });
    at += token.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), token: null });
  return { added: first < 0 ? [] : tokens.slice(0, start), pieces };
}
