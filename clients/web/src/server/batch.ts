// How many events become one change of the store: they are gathered, and taken over once a frame.

import type { StoreApi } from "zustand";

const HIDDEN_MS = 200; // a page that is not seen gets no frames

/** Collects changes of a store's state. `flush` makes one of them all; that happens by itself before the next frame. */
export class Batch<State extends object> {
  #store;
  #change: Partial<State> = {};
  #due: { frame: number; timer: ReturnType<typeof setTimeout> } | undefined;
  /** Called before the changes are taken over. */
  beforeFlush = () => {};

  constructor(store: Pick<StoreApi<State>, "getState" | "setState">) {
    this.#store = store;
  }

  /** As it will be. */
  get<Key extends keyof State>(key: Key): State[Key] {
    return key in this.#change ? this.#change[key]! : this.#store.getState()[key];
  }

  set(change: Partial<State>): void {
    Object.assign(this.#change, change);
    this.later();
  }

  /** A copy to be changed in place: one for each flush, however many events there are. */
  own<Key extends keyof State>(key: Key): State[Key] {
    if (!(key in this.#change)) {
      const now = this.#store.getState()[key];
      this.#change[key] = (Array.isArray(now) ? [...now] : { ...(now as object) }) as State[Key];
      this.later();
    }
    return this.#change[key]!;
  }

  later(): void {
    this.#due ??= {
      frame: requestAnimationFrame(() => this.flush()),
      timer: setTimeout(() => this.flush(), HIDDEN_MS),
    };
  }

  flush(): void {
    if (!this.#due) return;
    cancelAnimationFrame(this.#due.frame);
    clearTimeout(this.#due.timer);
    this.beforeFlush();
    const change = this.#change;
    this.#change = {};
    this.#due = undefined;
    this.#store.setState(change);
  }
}
