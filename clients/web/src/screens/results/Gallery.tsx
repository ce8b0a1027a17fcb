// The pictures themselves: rows that come and go as one scrolls, moved through with mouse, touch and keyboard.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type CSSProperties, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

import { useKeys } from "../../app/keys";
import { useSize } from "../../ui/useSize";
import { activate, follow, readMore, selectAll, selectNone, selectTo, toggle, useGallery } from "./gallery";
import css from "./Gallery.module.css";
import { GAP, type Row, rowAt, rowsOf, vertical } from "./layout";
import { Tile } from "./Tile";

const AHEAD = 3; // rows made beyond what is seen
const READ_AHEAD = 4; // windows before the end, older ones are asked for
const TOP = 8; // so near to the top, new results show; further down, what one looks at stays where it is
const FAST = 6; // windows a second: too fast to see pictures, so none are asked for
const SETTLED_MS = 120;
let scrolled = 0; // where one was, for when one comes back

interface Props {
  /** False while a single result is looked at. */
  shown: boolean;
  onOpen: (id: string) => void;
}

export function Gallery({ shown, onOpen }: Props) {
  const { artifacts, fresh, active, selected, size } = useGallery();
  const box = useRef<HTMLDivElement>(null);
  const width = useShownWidth(box);
  const rows = useMemo(() => rowsOf(artifacts, fresh, width, size), [artifacts, fresh, width, size]);
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: (index) => rows[index].height,
    getItemKey: (index) => rows[index].key,
    gap: GAP,
    overscan: AHEAD,
    initialOffset: scrolled,
  });
  useLayoutEffect(() => virtualizer.measure(), [rows]);
  useAnchor(box, rows);
  const fast = useFast(box);
  useEffect(follow, []);
  useEffect(() => void near(), [rows]); // a tall window wants more than one page

  function near() {
    const { scrollTop, clientHeight, scrollHeight } = box.current!;
    scrolled = scrollTop;
    if (clientHeight && scrollHeight - scrollTop < (READ_AHEAD + 1) * clientHeight) void readMore();
  }

  function go(to: number, selecting = false) {
    const { artifacts: all } = useGallery.getState();
    const target = all[Math.max(0, Math.min(all.length - 1, to))];
    if (!target) return;
    if (selecting) selectTo(target.id);
    else activate(target.id);
    virtualizer.scrollToIndex(rowAt(rows, all.indexOf(target)));
  }

  const at = artifacts.findIndex(({ id }) => id === active);
  useEffect(() => {
    if (shown && at >= 0) virtualizer.scrollToIndex(rowAt(rows, at)); // after one went on in the full view
  }, [shown]);
  const step = (by: number) => go(at < 0 ? 0 : at + by);
  const rowStep = (by: 1 | -1) => go(at < 0 ? 0 : vertical(rows, at, by));
  const page = (by: 1 | -1) => go(at + by * Math.max(1, virtualizer.getVirtualItems().length - 2 * AHEAD) * (rows[0]?.cells.length ?? 1));
  useKeys(
    shown
      ? {
          arrowleft: ["The one before", () => step(-1)],
          arrowright: ["The next one", () => step(1)],
          arrowup: ["Up", () => rowStep(-1)],
          arrowdown: ["Down", () => rowStep(1)],
          "shift+arrowleft": ["Select on the way back", () => go(at - 1, true)],
          "shift+arrowright": ["Select on the way", () => go(at + 1, true)],
          "shift+arrowup": ["Select a row up", () => go(vertical(rows, at, -1), true)],
          "shift+arrowdown": ["Select a row down", () => go(vertical(rows, at, 1), true)],
          pageup: ["A window up", () => page(-1)],
          pagedown: ["A window down", () => page(1)],
          home: ["The newest", () => go(0)],
          end: ["The oldest that is here", () => go(artifacts.length - 1)],
          enter: ["Open", () => active && onOpen(active)],
          space: ["Select", () => active && toggle(active)],
          "ctrl+a": ["Select all that are here", selectAll],
          ...(selected.size > 0 && { escape: ["Select none", selectNone] as const }),
        } as Parameters<typeof useKeys>[0]
      : {},
    "Results",
  );

  return (
    <div
      ref={box}
      className={css.box}
      role="listbox"
      aria-label="Results"
      aria-multiselectable="true"
      aria-activedescendant={active ? `tile-${active}` : undefined}
      tabIndex={0}
      onScroll={near}
      onFocus={() => active ?? (artifacts[0] && activate(artifacts[0].id))}
    >
      <div className={css.all} role="presentation" style={{ height: virtualizer.getTotalSize() }}>
        {virtualizer.getVirtualItems().map(({ index, key, start }) => (
          <div key={key} role="presentation" className={css.row} style={rowStyle(rows[index], start)}>
            {rows[index]?.cells.map((cell) => (
              <Tile
                key={cell.artifact.id}
                artifact={cell.artifact}
                left={cell.left}
                width={cell.width}
                height={rows[index].height}
                place={cell.index + 1}
                count={artifacts.length}
                isActive={cell.artifact.id === active}
                isSelected={selected.has(cell.artifact.id)}
                isSelecting={selected.size > 0}
                bare={fast}
                onOpen={onOpen}
              />
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}

const rowStyle = (row: Row | undefined, start: number): CSSProperties => ({
  height: row?.height,
  transform: `translateY(${start}px)`,
});

/** The width for rows: what it was before, while the gallery is hidden. */
function useShownWidth(box: React.RefObject<HTMLDivElement | null>): number {
  const now = Math.floor(useSize(box).width);
  const before = useRef(now);
  if (now > 0) before.current = now;
  return before.current;
}

/** Keeps what one looks at in its place while rows come, go and change above it. */
function useAnchor(box: React.RefObject<HTMLDivElement | null>, rows: Row[]): void {
  const before = useRef<Row[]>([]);
  useLayoutEffect(() => {
    const element = box.current!;
    const row = before.current.find(({ top, height }) => top + height > element.scrollTop);
    before.current = rows;
    if (!row || element.scrollTop < TOP) return;
    const { id } = row.cells[row.cells.length - 1].artifact;
    const now = rows.find(({ cells }) => cells.some(({ artifact }) => artifact.id === id));
    if (now && now.top !== row.top) element.scrollTop += now.top - row.top;
  }, [rows]);
}

/** Whether somebody scrolls so fast that nothing can be seen. */
function useFast(box: React.RefObject<HTMLDivElement | null>): boolean {
  const [fast, setFast] = useState(false);
  useEffect(() => {
    const element = box.current!;
    let last = { top: element.scrollTop, time: performance.now() };
    let settle: ReturnType<typeof setTimeout> | undefined;
    const scrolling = () => {
      const here = { top: element.scrollTop, time: performance.now() };
      const windows = Math.abs(here.top - last.top) / element.clientHeight;
      if (windows > 1 || windows / Math.max(0.016, (here.time - last.time) / 1000) > FAST) setFast(true);
      last = here;
      clearTimeout(settle);
      settle = setTimeout(() => setFast(false), SETTLED_MS);
    };
    element.addEventListener("scroll", scrolling, { passive: true });
    return () => {
      element.removeEventListener("scroll", scrolling);
      clearTimeout(settle);
    };
  }, []);
  return fast;
}
