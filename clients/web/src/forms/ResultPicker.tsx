// Chooses earlier results and uploads for an input.

import { useEffect, useState } from "react";

import { fits } from "../app/fitting";
import { complain } from "../app/notices";
import { call } from "../server/client";
import type { ArtifactRecord } from "../server/types";
import { Dialog } from "../ui/Dialog";
import { moment } from "../ui/format";
import { isPicture, thumbnailUrl } from "../ui/pictures";
import css from "./JobInputs.module.css";

const PAGE = 60;

interface Props {
  kind: string;
  several: boolean;
  onChoose: (artifacts: ArtifactRecord[]) => void;
  onClose: () => void;
}

export function ResultPicker({ kind, several, onChoose, onClose }: Props) {
  const [artifacts, setArtifacts] = useState<ArtifactRecord[]>([]);
  const [more, setMore] = useState(false);
  const [chosen, setChosen] = useState<ArtifactRecord[]>([]);
  const read = async (before?: string) => {
    const { artifacts: page } = await call<{ artifacts: ArtifactRecord[] }>("artifacts", { limit: PAGE, ...(before && { before }) });
    setArtifacts((known) => [...(before ? known : []), ...page]);
    setMore(page.length === PAGE);
  };
  useEffect(() => void read().catch(complain), []);
  const done = (picked: ArtifactRecord[]) => {
    onChoose(picked);
    onClose();
  };
  const toggle = (artifact: ArtifactRecord) => {
    if (!several) return done([artifact]);
    setChosen((before) => (before.includes(artifact) ? before.filter((each) => each !== artifact) : [...before, artifact]));
  };
  const fitting = artifacts.filter((artifact) => fits(artifact.kind, kind));
  const actions = several && (
    <button type="button" className="primary" disabled={!chosen.length} onClick={() => done(chosen)}>Use {chosen.length || ""}</button>
  );
  return (
    <Dialog title="From results" onClose={onClose} actions={actions}>
      <div className={css.picker}>
        {fitting.map((artifact) => (
          <button
            key={artifact.id} type="button" aria-pressed={chosen.includes(artifact)} onClick={() => toggle(artifact)}
            title={`${artifact.name ?? artifact.kind}, ${moment(artifact.created)}`} aria-label={`Use ${artifact.name ?? artifact.id}`}
          >
            {isPicture(artifact) ? <img loading="lazy" src={thumbnailUrl(artifact, 192)} alt="" /> : <span>{artifact.name ?? artifact.kind}</span>}
          </button>
        ))}
        {!fitting.length && !more && <p>There is nothing of this kind yet.</p>}
      </div>
      {more && <button type="button" onClick={() => void read(artifacts.at(-1)!.id).catch(complain)}>Show older ones</button>}
    </Dialog>
  );
}
