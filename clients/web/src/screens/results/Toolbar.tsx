// Which results are shown, and how large.

import { Search, SlidersHorizontal } from "lucide-react";
import { useEffect, useState } from "react";

import { onEvent } from "../../server/client";
import { useAsked } from "../../ui/asked";
import { type Filter, resize, show, SIZES, useGallery } from "./gallery";
import css from "./Toolbar.module.css";

const TYPING_MS = 250;
const VERDICTS = [["", "All"], ["new", "New"], ["picked", "Picked"], ["rejected", "Rejected"]] as const;
const KINDS = [
  ["", "Every kind"], ["image", "Pictures"], ["mask", "Masks"], ["text", "Texts"], ["json", "JSON"], ["audio", "Audio"], ["video", "Video"],
] as const;
const ORIGINS = [["first", "Results"], ["upload", "Uploads"], ["", "Results and uploads"]] as const;

export function Toolbar() {
  const { filter, size, total } = useGallery();
  const [open, setOpen] = useState(false);
  return (
    <div className={css.bar} role="toolbar" aria-label="Which results are shown">
      <Sessions chosen={filter.session} />
      <SearchField />
      <span className={css.count} role="status">{total.toLocaleString()} {total === 1 ? "result" : "results"}</span>
      <button type="button" className={css.more} aria-expanded={open} onClick={() => setOpen(!open)} aria-label="Filters" title="Filters">
        <SlidersHorizontal size={18} aria-hidden="true" />
      </button>
      <div className={css.filters} data-open={open || undefined}>
        <div className={css.verdicts} role="group" aria-label="Reviewed">
          {VERDICTS.map(([value, name]) => (
            <button key={value} type="button" aria-pressed={filter.review === value} onClick={() => show({ review: value })}>{name}</button>
          ))}
        </div>
        <Choice label="Kind" options={KINDS} value={filter.kind} onChange={(kind) => show({ kind })} />
        <Choice label="From" options={ORIGINS} value={filter.origin} onChange={(origin) => show({ origin: origin as Filter["origin"] })} />
        <label className={css.size}>
          <span className="hidden-text">Size of the pictures</span>
          <input type="range" {...SIZES} step={10} value={size} onChange={({ target }) => resize(Number(target.value))} title="Size of the pictures" />
        </label>
      </div>
    </div>
  );
}

interface ChoiceProps {
  label: string;
  options: readonly (readonly [value: string, name: string])[];
  value: string;
  onChange: (value: string) => void;
}

function Choice({ label, options, value, onChange }: ChoiceProps) {
  return (
    <select aria-label={label} title={label} value={value} onChange={({ target }) => onChange(target.value)}>
      {options.map(([each, name]) => <option key={each} value={each}>{name}</option>)}
    </select>
  );
}

interface Session {
  id: string;
  name: string;
  artifacts: number;
}

function Sessions({ chosen }: { chosen: string }) {
  const [opened, setOpened] = useState(0); // asked for anew whenever somebody is about to choose
  useEffect(() => onEvent(({ type }) => type === "session" && setOpened((times) => times + 1)), []);
  const { answer } = useAsked<{ sessions: Session[] }>("sessions", { limit: 200 }, opened);
  const [kept, keep] = useState<Session[]>([]);
  useEffect(() => void (answer && keep(answer.sessions)), [answer]);
  const missing = chosen && !kept.some(({ id }) => id === chosen);
  return (
    <select
      className={css.session}
      aria-label="Session"
      title="Session"
      value={chosen}
      onPointerDown={() => setOpened(opened + 1)}
      onChange={({ target }) => show({ session: target.value })}
    >
      <option value="">All sessions</option>
      {missing && <option value={chosen}>{chosen}</option>}
      {kept.map(({ id, name, artifacts }) => <option key={id} value={id}>{name} ({artifacts.toLocaleString()})</option>)}
    </select>
  );
}

function SearchField() {
  const search = useGallery(({ filter }) => filter.search);
  const [text, setText] = useState(search);
  useEffect(() => setText(search), [search]);
  useEffect(() => {
    if (text === useGallery.getState().filter.search) return;
    const timer = setTimeout(() => show({ search: text }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label className={css.search}>
      <Search size={16} aria-hidden="true" />
      <input type="search" value={text} placeholder="Search in prompts" aria-label="Search in prompts" onChange={({ target }) => setText(target.value)} />
    </label>
  );
}
