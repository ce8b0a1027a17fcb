// Asks before results are deleted, and says what that means.

import { useState } from "react";

import type { ArtifactRecord } from "../../server/types";
import { Dialog, firstToFocus } from "../../ui/Dialog";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import { remove } from "../../app/results";
import css from "./DeleteDialog.module.css";

const SHOWN = 8;

interface Props {
  artifacts: ArtifactRecord[];
  onClose: (deleted: boolean) => void;
}

export function DeleteDialog({ artifacts, onClose }: Props) {
  const [busy, setBusy] = useState(false);
  const count = artifacts.length;
  const picked = artifacts.filter(({ review }) => review === "picked").length;
  const act = async () => {
    setBusy(true);
    const gone = await remove(artifacts.map(({ id }) => id));
    setBusy(false);
    onClose(gone);
  };
  const what = count === 1 ? "this result" : `${count} results`;
  return (
    <Dialog
      title={`Delete ${what}?`}
      onClose={() => onClose(false)}
      actions={
        <>
          <button type="button" onClick={() => onClose(false)}>Keep</button>
          <button type="button" className={css.delete} onClick={act} disabled={busy} ref={firstToFocus}>Delete {what}</button>
        </>
      }
    >
      <div className={css.pictures}>
        {artifacts.filter(isPicture).slice(0, SHOWN).map((artifact) => (
          <img key={artifact.id} src={thumbnailUrl(artifact, 192)} alt="" />
        ))}
        {count > SHOWN && <span>and {count - SHOWN} more</span>}
      </div>
      {picked > 0 && <p><b>{picked === count ? "Picked before." : `${picked} of them you have picked.`}</b></p>}
      <p>
        The server forgets {count === 1 ? "it" : "them"} for ever; this cannot be undone. What was made of {count === 1 ? "it" : "them"} stays,
        and so do the copies in the outputs folder.
      </p>
    </Dialog>
  );
}
