/** Says that the model hardly expects the answer that was typed, as when it is left from other prompts, and offers what it expects. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { visible } from "../../text/tokens";
import type { Preview } from "../message-schema";

type Role = "answer" | "distractor";
const roles = ["answer", "distractor"] as const;

/** `take` puts a token into its field. */
export function createLikelier(take: (role: Role, token: { text: string; id: number }) => void, signal: AbortSignal) {
  const text = h("span");
  const use = h("button", { pw: "edit-likelier" });
  const element = h(
    "p",
    { class: "pw-field-errors pw-small-text pw-likelier", role: "status", hidden: true },
    text,
    " ",
    use,
  );
  let offered: Preview["likelier"] = null;
  const tokens = () => roles.flatMap((role) => (offered?.[role] ? [{ role, token: offered[role] }] : []));
  // the field that is edited keeps the focus
  hear(use, "pointerdown", (event) => event.preventDefault(), signal);
  hear(
    use,
    "click",
    () => {
      for (const { role, token } of tokens()) take(role, { text: token[0], id: token[2] });
    },
    signal,
  );

  return {
    element,
    show(likelier: Preview["likelier"]): void {
      offered = likelier;
      toggle(element, likelier !== null);
      setText(text, likelier?.text ?? "");
      toggle(use, tokens().length > 0);
      setText(
        use,
        `use ${tokens()
          .map(({ token }) => visible(token[0]))
          .join(" / ")}`,
      );
    },
  };
}
