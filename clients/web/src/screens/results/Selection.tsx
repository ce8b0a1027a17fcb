// What can be done with the results that are selected, and the keys that do it in the gallery.

import { Columns2, Download, Send, ThumbsDown, ThumbsUp, Trash2, X } from "lucide-react";
import { useState } from "react";

import { useKeys } from "../../app/keys";
import type { ArtifactRecord } from "../../server/types";
import { SendTo } from "../../ui/SendTo";
import { download, review } from "../../app/results";
import { DeleteDialog } from "./DeleteDialog";
import { activate, chosen, neighbour, selectNone, useGallery } from "./gallery";
import css from "./Selection.module.css";

const MOST_COMPARED = 4;

export function Selection({ onCompare }: { onCompare: (ids: string[]) => void }) {
  const { selected, active } = useGallery();
  const [doomed, setDoomed] = useState<ArtifactRecord[]>([]);
  const [sent, setSent] = useState<ArtifactRecord[]>([]);
  const compare = () => onCompare([...selected].slice(0, MOST_COMPARED));
  const judge = (state: ArtifactRecord["review"]) => {
    const next = !selected.size && active && state !== "new" ? neighbour(active, 1) : undefined;
    void review(chosen().map(({ id }) => id), state);
    if (next) activate(next.id);
  };
  useKeys(
    {
      p: ["Pick, and go on to the next", () => judge("picked")],
      x: ["Reject, and go on to the next", () => judge("rejected")],
      u: ["Neither picked nor rejected", () => judge("new")],
      d: ["Download", () => void download(chosen())],
      s: ["Send to another job", () => setSent(chosen())],
      c: ["Compare the selected", () => selected.size > 1 && compare()],
      delete: ["Delete", () => setDoomed(chosen())],
    },
    "Results",
  );
  return (
    <>
      {selected.size > 0 && (
        <div className={css.bar} role="toolbar" aria-label="The selected results">
          <button type="button" className="quiet" onClick={selectNone} aria-label="Select none" title="Select none (Esc)">
            <X size={18} aria-hidden="true" />
          </button>
          <b role="status">{selected.size} selected</b>
          <span className={css.gap} />
          <Act icon={ThumbsUp} name="Pick" onClick={() => judge("picked")} />
          <Act icon={ThumbsDown} name="Reject" onClick={() => judge("rejected")} />
          <Act icon={Columns2} name="Compare" onClick={compare} disabled={selected.size < 2} />
          <Act icon={Send} name="Send to" onClick={() => setSent(chosen())} />
          <Act icon={Download} name="Download" onClick={() => void download(chosen())} />
          <Act icon={Trash2} name="Delete" onClick={() => setDoomed(chosen())} danger />
        </div>
      )}
      {doomed.length > 0 && <DeleteDialog artifacts={doomed} onClose={() => setDoomed([])} />}
      {sent.length > 0 && <SendTo artifacts={sent} onClose={() => setSent([])} />}
    </>
  );
}

interface ActProps {
  icon: typeof X;
  name: string;
  onClick: () => void;
  disabled?: boolean;
  danger?: boolean;
}

function Act({ icon: Icon, name, onClick, disabled, danger }: ActProps) {
  return (
    <button type="button" className={danger ? "danger" : undefined} onClick={onClick} disabled={disabled} title={name}>
      <Icon size={16} aria-hidden="true" />
      <span className={css.name}>{name}</span>
    </button>
  );
}
