// What browsers return by now, and TypeScript's library does not tell yet: an effect that returned it would break its screen.

type Scrolled = Promise<void> | undefined;

interface Element {
  scrollIntoView(options?: boolean | ScrollIntoViewOptions): Scrolled;
  scroll(options?: ScrollToOptions): Scrolled;
  scroll(x: number, y: number): Scrolled;
  scrollBy(options?: ScrollToOptions): Scrolled;
  scrollBy(x: number, y: number): Scrolled;
  scrollTo(options?: ScrollToOptions): Scrolled;
  scrollTo(x: number, y: number): Scrolled;
}
