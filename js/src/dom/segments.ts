/** A row of buttons of which one is pressed. */
import { h, hear, setText } from "./dom";

export interface Segment<T extends string> {
  name: T;
  text: string;
  title?: string;
}

export function createSegments<T extends string>(
  label: string,
  segments: readonly Segment<T>[],
  choose: (name: T) => void,
  signal: AbortSignal,
) {
  const buttons = segments.map(({ name, text, title }) =>
    h("button", { "data-name": name, title, "aria-pressed": "false" }, text),
  );
  const element = h("span", { class: "pw-segments", role: "group", label: label }, ...buttons);
  buttons.forEach((button, i) => {
    hear(button, "click", () => choose((segments[i] as Segment<T>).name), signal);
  });
  return {
    element,
    show(chosen: T | null, texts: Partial<Record<T, string>> = {}): void {
      buttons.forEach((button, i) => {
        const { name, text } = segments[i] as Segment<T>;
        button.setAttribute("aria-pressed", String(name === chosen));
        setText(button, texts[name] ?? text);
      });
    },
  };
}
