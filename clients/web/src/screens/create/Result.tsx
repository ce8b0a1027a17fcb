// One result, large, with what one would do next.

import { Brush, Download, RefreshCw, Send, Star, Undo2 } from "lucide-react";
import { type CSSProperties, useState } from "react";

import { openPainter, openResult } from "../../app/intents";
import { again, canPaint, reuseForm, review } from "../../app/results";
import { useServer } from "../../server/store";
import type { ArtifactRecord } from "../../server/types";
import { isPicture, pictureUrl } from "../../ui/pictures";
import { SendTo } from "../../ui/SendTo";
import { useText } from "../../ui/text";
import css from "./Stage.module.css";

const LONGEST_TEXT = 20_000; // characters
const LEAST = 640; // pixels, of the longer side of a picture where there is room
const MOST_GROWN = 1.5; // times larger than it is, if it is larger than that

export function Result({ artifact }: { artifact: ArtifactRecord }) {
  return (
    <>
      <div className={css.picture}><Content artifact={artifact} /></div>
      <Actions artifact={artifact} />
    </>
  );
}

function Content({ artifact }: { artifact: ArtifactRecord }) {
  const { kind, facts, id } = artifact;
  const url = pictureUrl(artifact);
  if (kind === "audio") return <audio controls src={url} />;
  if (kind === "video") return <video controls loop src={url} />;
  if (!isPicture(artifact)) return <Text url={url} />;
  const { width = LEAST, height = LEAST } = facts;
  const size = { "--width": width * Math.max(MOST_GROWN, LEAST / Math.max(width, height)), "--ratio": width / height };
  return (
    <button type="button" className={css.open} title="See it in full, with all parameters" onClick={() => openResult(id)}>
      <img src={url} alt={`Result ${artifact.idx + 1}${facts.seed === undefined ? "" : `, seed ${facts.seed}`}`} style={size as CSSProperties} />
    </button>
  );
}

function Text({ url }: { url: string }) {
  const { text, problem } = useText(url, LONGEST_TEXT);
  return <pre tabIndex={0}>{text ?? problem}</pre>;
}

function Actions({ artifact }: { artifact: ArtifactRecord }) {
  const catalogue = useServer((server) => server.catalogue);
  const [sending, setSending] = useState(false);
  const { seed, width, height } = artifact.facts;
  const isPicked = artifact.review === "picked";
  const about = [width && `${width} × ${height}`, seed !== undefined && `seed ${seed}`].filter(Boolean).join(" · ");
  return (
    <div className={css.actions}>
      <button type="button" onClick={() => void again(artifact)} title="The same again, with a new seed">
        <RefreshCw size={16} aria-hidden="true" /> <span>Again</span>
      </button>
      <button type="button" onClick={() => void reuseForm(artifact)} title="Put all its values into the form">
        <Undo2 size={16} aria-hidden="true" /> <span>Reuse</span>
      </button>
      <button type="button" onClick={() => setSending(true)} title="Make it the input of another job">
        <Send size={16} aria-hidden="true" /> <span>Send to</span>
      </button>
      {sending && <SendTo artifacts={[artifact]} onClose={() => setSending(false)} />}
      {canPaint(artifact, catalogue) && (
        <button type="button" onClick={() => openPainter(artifact)} title="Paint what is to be redrawn">
          <Brush size={16} aria-hidden="true" /> <span>Paint</span>
        </button>
      )}
      <button type="button" aria-pressed={isPicked} onClick={() => void review([artifact.id], isPicked ? "new" : "picked")} title="Pick">
        <Star size={16} aria-hidden="true" fill={isPicked ? "currentColor" : "none"} /> <span>Pick</span>
      </button>
      <a className={css.save} href={pictureUrl(artifact)} download={artifact.name ?? ""} title="Save" aria-label="Save">
        <Download size={16} aria-hidden="true" />
      </a>
      <span className={css.about}>{about}</span>
    </div>
  );
}
