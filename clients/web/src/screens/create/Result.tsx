// One result, large, with what one would do next.

import { Brush, Download, RefreshCw, Send, Star, Undo2 } from "lucide-react";
import { type CSSProperties, useEffect, useState } from "react";

import { openPainter, openResult, reuse } from "../../app/intents";
import { complain } from "../../app/notices";
import { fieldWith } from "../../forms/schema";
import { call } from "../../server/client";
import { merge, useServer } from "../../server/store";
import type { ArtifactRecord, JobRecord } from "../../server/types";
import { isPicture, pictureUrl } from "../../ui/pictures";
import { SendTo } from "../../ui/SendTo";
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
  const [text, setText] = useState("");
  useEffect(() => {
    let wanted = true;
    const read = async () => (await fetch(url)).text();
    read().then((all) => wanted && setText(all.length > LONGEST_TEXT ? `${all.slice(0, LONGEST_TEXT)} …` : all), complain);
    return () => void (wanted = false);
  }, [url]);
  return <pre tabIndex={0}>{text}</pre>;
}

function Actions({ artifact }: { artifact: ArtifactRecord }) {
  const catalogue = useServer((server) => server.catalogue);
  const [review, setReview] = useState(artifact.review);
  const [sending, setSending] = useState(false);
  const { seed, width, height } = artifact.facts;
  const paints = isPicture(artifact) && Object.values(catalogue).some(({ inputs }) => Object.values(inputs).some(({ kind }) => kind === "mask"));
  const made = () => call<{ job: JobRecord }>("job", { id: artifact.job }).then(({ job }) => job);
  const again = async () => {
    const job = await made();
    const name = catalogue[job.name] && fieldWith(catalogue[job.name].params, "seed");
    const params = name ? { [name]: catalogue[job.name].params.properties![name].default } : {};
    const reference = crypto.getRandomValues(new Uint32Array(4)).join("-");
    merge((await call("retry", { id: job.id, params, client_ref: reference })).job);
  };
  const pick = async () => {
    const state = review === "picked" ? "new" : "picked";
    await call("review", { ids: [artifact.id], state });
    setReview(state);
  };
  const about = [width && `${width} × ${height}`, seed !== undefined && `seed ${seed}`].filter(Boolean).join(" · ");
  return (
    <div className={css.actions}>
      <button type="button" onClick={() => void again().catch(complain)} title="The same again, with a new seed">
        <RefreshCw size={16} aria-hidden="true" /> <span>Again</span>
      </button>
      <button type="button" onClick={() => void made().then((job) => reuse(job, seed)).catch(complain)} title="Put all its values into the form">
        <Undo2 size={16} aria-hidden="true" /> <span>Reuse</span>
      </button>
      <button type="button" onClick={() => setSending(true)} title="Make it the input of another job">
        <Send size={16} aria-hidden="true" /> <span>Send to</span>
      </button>
      {sending && <SendTo artifacts={[artifact]} onClose={() => setSending(false)} />}
      {paints && (
        <button type="button" onClick={() => openPainter(artifact)} title="Paint what is to be redrawn">
          <Brush size={16} aria-hidden="true" /> <span>Paint</span>
        </button>
      )}
      <button type="button" aria-pressed={review === "picked"} onClick={() => void pick().catch(complain)} title="Pick">
        <Star size={16} aria-hidden="true" fill={review === "picked" ? "currentColor" : "none"} /> <span>Pick</span>
      </button>
      <a className={css.save} href={pictureUrl(artifact)} download={artifact.name ?? ""} title="Save" aria-label="Save">
        <Download size={16} aria-hidden="true" />
      </a>
      <span className={css.about}>{about}</span>
    </div>
  );
}
