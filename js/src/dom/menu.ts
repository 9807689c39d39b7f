/** A button with a small list of commands under it. */
import { h, hear, memo, toggle } from "./dom";

export interface Command {
  /** The value of data-pw. */
  name: string;
  text: string;
  run(): void;
}

export function createMenu(
  text: string,
  label: string,
  initial: readonly Command[],
  name: string,
  signal: AbortSignal,
) {
  const list = h("div", { class: "pw-popover", role: "menu", label: label, hidden: true });
  const button = h(
    "button",
    {
      class: "pw-quiet",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      title: label,
      pw: name,
    },
    text,
  );
  const element = h("span", "pw-menu", button, list);
  let commands: readonly Command[] = [];
  const items = () => [...list.children] as HTMLElement[];
  const open = (shown: boolean) => {
    toggle(list, shown);
    button.setAttribute("aria-expanded", String(shown));
    if (shown) items()[0]?.focus();
  };
  const close = () => {
    open(false);
    button.focus();
  };
  /** From the item that has the focus, which may be in a shadow root. */
  const step = (by: number) => {
    const all = items();
    const at = all.findIndex((item) => item.matches(":focus"));
    all[(at + by + all.length) % all.length]?.focus();
  };
  const fill = memo((names: string[][]) => {
    list.replaceChildren(...names.map(([pw, words]) => h("button", { role: "menuitem", tabindex: -1, pw: pw }, words)));
  });
  const set = (next: readonly Command[]) => {
    commands = next;
    fill(next.map(({ name: pw, text: words }) => [pw, words]));
  };
  set(initial);

  hear(button, "click", () => open(Boolean(list.hidden)), signal);
  hear(
    list,
    "click",
    (event) => {
      const at = items().indexOf((event.target as Element).closest("[role=menuitem]") as HTMLElement);
      if (at < 0) return;
      close();
      commands[at]?.run();
    },
    signal,
  );
  hear(
    element,
    "keydown",
    (event) => {
      const shown = !list.hidden;
      const keys: Record<string, () => void> = {
        ArrowDown: () => (shown ? step(1) : open(true)),
        ArrowUp: () => (shown ? step(-1) : open(true)),
        ...(shown && { Home: () => items()[0]?.focus(), End: () => items().at(-1)?.focus(), Escape: close }),
      };
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    },
    signal,
  );
  hear(
    element,
    "focusout",
    (event) => {
      if (!element.contains(event.relatedTarget as Node | null)) open(false);
    },
    signal,
  );
  return { element, set };
}
