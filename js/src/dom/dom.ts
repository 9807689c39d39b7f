/** Elements in one line. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | undefined>;

/** Names of attributes that are written often. */
const short: Record<string, string> = { pw: "data-pw", label: "aria-label" };

/** `h("b", { class: "pw-x", pw: "y" }, "text")`, or the class alone: `h("b", "pw-x", "text")`; attributes that are false or
 *  undefined are left out.  Buttons submit nothing. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes | string = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (element instanceof HTMLButtonElement) element.type = "button";
  const given = typeof attributes === "string" ? { class: attributes } : attributes;
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && value !== false)
      element.setAttribute(short[name] ?? name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Hears of an event until the signal aborts. */
export function hear<K extends keyof HTMLElementEventMap>(
  element: HTMLElement,
  type: K,
  heard: (event: HTMLElementEventMap[K]) => void,
  signal: AbortSignal,
): void {
  element.addEventListener(type, heard, { signal });
}

/** Sets the text only when it differs, so that selections and screen readers are left in peace. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function toggle(element: HTMLElement, shown: boolean): void {
  element.hidden = !shown;
}

/** Calls `make` again only when what it depends on has changed in content. */
export function memo<T>(make: (input: T) => void): (input: T) => void {
  let last: string | undefined;
  return (input) => {
    const key = JSON.stringify(input);
    if (key === last) return;
    last = key;
    make(input);
  };
}

/** Sets position and size in CSS pixels. */
export function place(element: HTMLElement, box: Partial<Record<"left" | "top" | "width" | "height", number>>): void {
  for (const [side, value] of Object.entries(box)) element.style.setProperty(side, `${value}px`);
}
