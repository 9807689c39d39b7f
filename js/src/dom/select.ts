/** A menu: the host's own list, with a short name of what is chosen in front of it. */
import { h, hear, memo, setText } from "./dom";

export interface SelectItem {
  name: string;
  /** As the list has it. */
  text: string;
  /** As it stands when chosen. */
  short?: string;
  title?: string;
  disabled?: boolean;
}

export function createSelect(name: string, label: string, choose: (value: string) => void, signal: AbortSignal) {
  const chosen = h("b");
  const select = h("select", { pw: name, label: label });
  const element = h(
    "label",
    "pw-select",
    h("span", "pw-select-name", label),
    chosen,
    h("i", { class: "pw-caret", "aria-hidden": "true" }),
    select,
  );
  hear(select, "change", () => choose(select.value), signal);
  const fill = memo((items: SelectItem[]) => {
    select.replaceChildren(
      ...items.map((item) =>
        h("option", { value: item.name, title: item.title, disabled: item.disabled ?? false }, item.text),
      ),
    );
  });
  return {
    element,
    enable(on: boolean): void {
      select.disabled = !on;
    },
    show(items: SelectItem[], value: string): void {
      const known = items.some((item) => item.name === value);
      fill(known ? items : [...items, { name: value, text: value }]);
      if (select.value !== value) select.value = value;
      const item = items.find((one) => one.name === value);
      setText(chosen, item?.short ?? item?.text ?? value);
      element.title = item?.title ?? "";
    },
  };
}
