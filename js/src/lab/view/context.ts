/** What the parts of the panel are given. */
import type { Hover } from "../../grid/grid";
import type { Theme } from "../../grid/theme";
import type { Store } from "../../transport/store";
import type { Actions } from "../actions";
import type { UiState } from "../view-state";

export interface Deps {
  actions: Actions;
  ui: Store<UiState>;
  hover(hover: Hover): void;
  /** The host's colours have been read. */
  theme(theme: Theme): void;
  /** The colours as they are. */
  colours(): Theme | null;
  /** Says something aloud. */
  say(text: string): void;
}
