/** Tokens with what cannot be seen made visible. */

const signs: Record<string, string> = { " ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽" };
const hidden = /[\p{Cc}\p{Zl}\p{Zp}\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]/u;
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** " to" -> "·to", "\n" -> "⏎", "" -> "∅"; letters, emoji and marks that join stay whole. */
export function visible(token: string): string {
  if (token === "") return "∅";
  const text = Array.from(token, seen).join("");
  return /^\p{M}/u.test(text) ? `◌${text}` : text;
}

function seen(character: string): string {
  const sign = signs[character];
  if (sign !== undefined) return sign;
  if (!hidden.test(character)) return character;
  return `‹${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0")}›`;
}

/** At most `length` characters as people count them, the last an ellipsis if any was cut off. */
export function shorten(text: string, length: number): string {
  const graphemes = Array.from(segmenter.segment(text), (part) => part.segment);
  return graphemes.length <= length ? text : `${graphemes.slice(0, length - 1).join("")}…`;
}
