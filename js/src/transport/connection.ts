/** Talks to the kernel: says hello, numbers requests, notices losses and silence.  Knows no DOM. */
import { ProtocolError } from "./errors";
import type { FromPage, PageState, Problem, Question } from "./messages";
import type { Store } from "./store";
import { VERSION } from "./version";

const TICK_MS = 500;
/** A kernel answers while a cell runs only if a message has reached it through a subshell, and the host may open
 *  that subshell seconds after the page has started.  So hello is said again for this long, answered or not. */
const SETTLE_TICKS = 12;
/** Unanswered for longer, hello is said at every fourth tick only. */
const EAGER_TICKS = 40;
const SILENCE_MS = 3000;
/** While there is work a visible page says this often that it still is. */
const SAY_MS = 5000;

const lost: Problem = {
  message: "The kernel is gone: it was shut down or has been restarted.",
  hint: "What was measured stays on view here. To go on, run the cell again, or this:",
};

/** Sends one message; throws when the connection is closed. */
export type Send = (message: FromPage) => void;

/** What of a state the connection itself sees to. */
export interface Linked {
  link: "connecting" | "live" | "lost" | "stored";
  silent: boolean;
  open: object;
  problems: object;
}

/** What is said over a connection, and how it changes what the page knows. */
export interface Talk<S, M> {
  parse(content: unknown, buffers: readonly DataView[]): M;
  received(state: S, message: M): S;
  asked(state: S, request: { id: string } & Question): S;
  /** Whether the kernel has work to do for this widget. */
  working(state: S): boolean;
}

type Numbered = { type: string; seq: number };

export class Connection<S extends Linked = Linked, M extends Numbered = Numbered> {
  readonly #page = `p${Math.random().toString(36).slice(2, 8)}`;
  readonly #send: Send;
  readonly #store: Store<S>;
  readonly #talk: Talk<S, M>;
  readonly #now: () => number;
  readonly #look: () => PageState;
  #requests = 0;
  #ticks = 0;
  #lastSeq: number | null = null;
  #missing = true;
  #lastNews: number;
  /** What was last said of the page, and when. */
  #said: { state: PageState; at: number };

  /** `look` tells whether anybody sees the widget. */
  constructor(
    send: Send,
    store: Store<S>,
    talk: Talk<S, M>,
    now: () => number = () => performance.now(),
    look: () => PageState = () => "visible",
  ) {
    this.#send = send;
    this.#store = store;
    this.#talk = talk;
    this.#now = now;
    this.#look = look;
    this.#lastNews = now();
    this.#said = { state: look(), at: now() };
  }

  /** Says hello and goes on listening for silence until the signal aborts. */
  start(signal: AbortSignal): void {
    this.#hello();
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  /** Asks the kernel for something; what the page was waiting for in the same place it no longer waits for. */
  request({ method, params }: Question): void {
    if (this.#store.state.link === "lost") return;
    this.#requests += 1;
    const request = { id: `${this.#page}-${this.#requests}`, method, params };
    this.#noteAsked();
    if (this.#deliver({ v: VERSION, type: "request", ...request })) {
      this.#store.update((state) => this.#talk.asked(state, request));
    }
  }

  cancel(id: string): void {
    this.#deliver({ v: VERSION, type: "cancel", id });
  }

  /** Tells how the page stands, where that has changed; and while there is work, from time to time that somebody still looks. */
  look(): void {
    if (this.#store.state.link === "lost") return;
    const state = this.#look();
    const due = this.#now() - this.#said.at >= SAY_MS && state === "visible" && this.#talk.working(this.#store.state);
    if (state === this.#said.state && !due) return;
    this.#said = { state, at: this.#now() };
    this.#deliver({ v: VERSION, type: "page", page: this.#page, state });
  }

  receive(content: unknown, buffers: readonly DataView[]): void {
    this.#lastNews = this.#now();
    this.#store.update((state) => (state.silent ? { ...state, silent: false } : state));
    this.#read(content, buffers, (message) => {
      this.#number(message.type === "hello", message.seq);
      this.#store.update((state) => this.#talk.received(state, message));
    });
  }

  /** What the notebook, or a file, has kept: shown until the kernel itself answers. */
  restore(content: unknown, buffers: readonly DataView[]): void {
    if (!this.#missing) return;
    this.#read(content, buffers, (message) => this.#store.update((state) => this.#talk.received(state, message)));
  }

  /** The host has closed the connection. */
  close(): void {
    if (this.#store.state.link === "stored") return;
    this.#store.update((state) => ({ ...state, link: "lost", silent: false, open: {} }));
    this.#report(lost);
  }

  tick(): void {
    if (this.#store.state.link === "lost") return;
    this.#ticks += 1;
    const settling = this.#ticks < SETTLE_TICKS;
    const due = this.#missing && (this.#ticks < EAGER_TICKS || this.#ticks % 4 === 0);
    if (settling || due) this.#hello();
    this.look();
    const { open, link } = this.#store.state;
    const waiting = this.#missing || Object.keys(open).length > 0;
    const silent = link !== "stored" && waiting && this.#now() - this.#lastNews > SILENCE_MS;
    this.#store.update((state) => (state.silent === silent ? state : { ...state, silent }));
  }

  /** A message that can't be read is told, and does no further harm. */
  #read(content: unknown, buffers: readonly DataView[], take: (message: M) => void): void {
    try {
      take(this.#talk.parse(content, buffers));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#report({ message: error.message, hint: "" });
    }
  }

  #hello(): void {
    const known = this.#missing || this.#lastSeq === null ? {} : { known: this.#lastSeq };
    const state = this.#look();
    this.#said = { state, at: this.#now() };
    const seen = state === "visible" ? {} : { state };
    this.#deliver({ v: VERSION, type: "hello", page: this.#page, ...known, ...seen });
  }

  /** Keeps count; after a gap everything is asked for again. */
  #number(isHello: boolean, seq: number): void {
    const gap = !isHello && seq !== (this.#lastSeq ?? seq) + 1;
    this.#lastSeq = seq;
    if (isHello) this.#missing = false;
    if (!gap || this.#missing) return;
    this.#missing = true;
    // the end of a request may be among what was lost
    this.#store.update((state) => ({ ...state, open: {} }));
    this.#hello();
  }

  /** Silence is counted from when there was something to answer. */
  #noteAsked(): void {
    if (Object.keys(this.#store.state.open).length === 0) this.#lastNews = this.#now();
  }

  #deliver(message: FromPage): boolean {
    try {
      this.#send(message);
      return true;
    } catch {
      this.close();
      return false;
    }
  }

  #report(problem: Problem): void {
    this.#store.update((state) => ({ ...state, problems: { ...state.problems, page: problem } }));
  }
}
