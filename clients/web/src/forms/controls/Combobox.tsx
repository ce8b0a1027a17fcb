// A field to choose one name of many: typed to narrow, by mouse or keyboard, also where there are thousands.

import { ChevronsUpDown } from "lucide-react";
import { type KeyboardEvent, useId, useLayoutEffect, useRef, useState } from "react";

import { hasWords } from "../../ui/search";
import css from "./Combobox.module.css";

const MOST_SHOWN = 200;
const [LEAST_ROOM, MOST_ROOM] = [260, 360]; // pixels for the list

interface Props {
  id: string;
  names: string[];
  /** Shown in the field while nobody types; "" is none. */
  value: string;
  onChoose: (name: string) => void;
  /** How the empty choice is called, where it may be made. */
  none?: string;
  placeholder?: string;
  /** A name that is not in the list may be typed, too. */
  free?: boolean;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
}

export function Combobox({ id, names, value, onChoose, none, placeholder, free, ...described }: Props) {
  const [typed, setTyped] = useState<string | null>(null); // null: closed
  const [active, setActive] = useState(0);
  const box = useRef<HTMLInputElement>(null);
  const list = useId();
  const fitting = typed === null ? [] : names.filter((name) => hasWords(name, typed === value ? "" : typed));
  const offered = [...(none !== undefined && (!typed || typed === value) ? [""] : []), ...fitting.slice(0, MOST_SHOWN)];
  const open = typed !== null;
  const show = (text: string) => {
    setTyped(text);
    setActive(Math.max(0, text === value ? [...(none !== undefined ? [""] : []), ...names].indexOf(value) : 0));
  };
  const choose = (name: string | undefined) => {
    setTyped(null);
    if (name !== undefined && name !== value) onChoose(name);
  };
  const leave = () => {
    if (typed === null) return;
    if (names.includes(typed) || (free && typed)) choose(typed);
    else choose(typed === "" && none !== undefined ? "" : undefined);
  };
  const press = (event: KeyboardEvent) => {
    const { key } = event;
    if (!open && (key === "ArrowDown" || key === "ArrowUp") && !event.ctrlKey) show(value);
    else if (key === "ArrowDown" && open) setActive(Math.min(active + 1, offered.length - 1));
    else if (key === "ArrowUp" && open) setActive(Math.max(active - 1, 0));
    else if (key === "Enter" && open && !event.ctrlKey && !event.metaKey) {
      choose(free && typed && !offered.includes(typed) ? typed : offered[active]);
    } else if (key === "Escape" && open) setTyped(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className={css.combobox}>
      <input
        ref={box} id={id} role="combobox" autoComplete="off" spellCheck={false} aria-expanded={open} aria-controls={list}
        aria-autocomplete="list" aria-activedescendant={open && offered.length ? `${list}-${active}` : undefined}
        value={typed ?? value} placeholder={placeholder ?? none} title={value} {...described}
        onChange={({ target }) => show(target.value)} onKeyDown={press} onBlur={leave}
        onClick={() => !open && show(value)} onFocus={({ target }) => target.select()}
      />
      <ChevronsUpDown size={14} aria-hidden="true" />
      <Options anchor={box} id={list} open={open}>
        {offered.map((name, index) => (
          <li
            key={name} id={`${list}-${index}`} role="option" aria-selected={name === value} data-active={index === active}
            ref={(item) => void (index === active && item?.scrollIntoView({ block: "nearest" }))}
            onPointerDown={(event) => event.preventDefault()} onClick={() => choose(name)}
          >
            {name || none}
          </li>
        ))}
        {open && !offered.length && <li className={css.note}>{free ? "Enter takes it." : "Nothing of that name."}</li>}
        {fitting.length > MOST_SHOWN && (
          <li className={css.note}>{(fitting.length - MOST_SHOWN).toLocaleString("en")} more: type to narrow</li>
        )}
      </Options>
    </div>
  );
}

/** The list, above everything else and as near to the field as there is room. */
function Options({ anchor, id, open, children }: {
  anchor: React.RefObject<HTMLInputElement | null>; id: string; open: boolean; children: React.ReactNode;
}) {
  const list = useRef<HTMLUListElement>(null);
  useLayoutEffect(() => {
    const shown = list.current!;
    if (!open) return shown.hidePopover();
    const place = () => Object.assign(shown.style, beside(anchor.current!.getBoundingClientRect()));
    const follow = ({ target }: Event) => shown.contains(target as Node) || place();
    place();
    shown.showPopover();
    addEventListener("scroll", follow, true);
    return () => removeEventListener("scroll", follow, true);
  }, [open]);
  return <ul ref={list} id={id} role="listbox" popover="manual" className={css.options}>{children}</ul>;
}

/** Where a list belongs: below its field, or above it where there is more room. */
function beside({ left, top, bottom, width }: DOMRect): Partial<CSSStyleDeclaration> {
  const below = innerHeight - bottom > LEAST_ROOM || bottom < innerHeight / 2;
  return {
    left: `${left}px`, minWidth: `${width}px`, maxHeight: `${Math.min(MOST_ROOM, (below ? innerHeight - bottom : top) - 12)}px`,
    top: below ? `${bottom + 2}px` : "auto", bottom: below ? "auto" : `${innerHeight - top + 2}px`,
  };
}
