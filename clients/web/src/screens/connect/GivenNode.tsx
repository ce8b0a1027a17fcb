// What is put into a flow: a file, an earlier result, a text.

import type { NodeProps } from "@xyflow/react";
import { ImageUp } from "lucide-react";
import { memo, useEffect, useState } from "react";

import { call } from "../../server/client";
import { useServer } from "../../server/store";
import type { ArtifactRecord } from "../../server/types";
import { isPicture, thumbnailUrl } from "../../ui/pictures";
import css from "./Node.module.css";
import { Peek } from "./NodeState";
import { OutputPort } from "./Ports";
import type { GivenNode as Shown } from "./graph";

export const GivenNode = memo(function GivenNode({ id, data }: NodeProps<Shown>) {
  const { artifact, isGone } = useArtifact(data.artifact);
  return (
    <div className={css.node} data-given data-bad={isGone}>
      <header>
        <strong title={data.name ?? id}>{data.name ?? id}</strong>
      </header>
      <OutputPort kind={data.kind} list={data.results !== undefined} />
      {data.text !== undefined && <p className={css.text}>{data.text || <em>Write a text at the side.</em>}</p>}
      {data.results !== undefined && <p className={css.text}>The results of an earlier job</p>}
      {data.artifact === "" && <p className={css.text}><ImageUp size={14} aria-hidden="true" /> Drop a file here, or choose one at the side.</p>}
      {isGone && <p className={css.problem}>It is not on this server (any more). Choose another one.</p>}
      {artifact && <div className={css.given}>{isPicture(artifact) ? <img src={thumbnailUrl(artifact, 256)} alt="" draggable={false} /> : <Peek artifact={artifact} />}</div>}
    </div>
  );
});

/** The record of an artifact, asked for once. */
export function useArtifact(id: string | undefined): { artifact?: ArtifactRecord; isGone: boolean } {
  const isOnline = useServer(({ connection }) => connection.state === "online");
  const [found, setFound] = useState<{ id: string; artifact?: ArtifactRecord }>();
  useEffect(() => {
    let isWanted = true;
    const note = (artifact?: ArtifactRecord) => isWanted && setFound({ id: id!, artifact });
    if (id && isOnline) call<{ artifact: ArtifactRecord }>("artifact", { id }).then(({ artifact }) => note(artifact), () => note());
    return () => void (isWanted = false);
  }, [id, isOnline]);
  if (!id || found?.id !== id) return { isGone: false };
  return { artifact: found.artifact, isGone: !found.artifact };
}
