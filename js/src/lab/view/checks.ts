/** What was checked about a measurement: a quiet line when all is well, a banner for what is not. */
import { h, memo } from "../../dom/dom";
import { compact } from "../../text/format";
import type { Check } from "../message-schema";
import { checkText } from "../wording";

export function createChecks(name: string) {
  const line = h("div", { class: "pw-checks", pw: name });
  const banners = h("div");

  const show = memo(({ checks, floor }: { checks: readonly Check[]; floor: number | null }) => {
    const passed = checks
      .filter((check) => check.ok)
      .map((check) => h("span", { class: "pw-ok", title: check.text }, `✓ ${checkText(check)}`));
    const noise =
      floor !== null &&
      checks.length > 0 &&
      h("span", { title: "smaller recoveries mean nothing in this precision" }, `noise floor ${compact(floor, 3)}`);
    line.replaceChildren(...passed, ...(noise ? [noise] : []));
    banners.replaceChildren(...checks.filter((check) => !check.ok).map(banner));
  });

  return {
    line,
    banners,
    show: (view: { checks: readonly Check[]; noise_floor: number | null } | null) =>
      show({ checks: view?.checks ?? [], floor: view?.noise_floor ?? null }),
  };
}

function banner(check: Check): HTMLElement {
  const limit = check.limit === null ? "" : ` (limit ${compact(check.limit, 3)})`;
  return h(
    "div",
    { class: "pw-banner pw-bad", role: "alert", pw: "check-failed" },
    h("b", {}, `Check failed: ${checkText(check)}${limit}. `),
    h("span", {}, `Expected: ${check.text.replace(/\.$/, "")}. Do not trust these numbers.`),
  );
}
