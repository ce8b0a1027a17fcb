// A model that a plugin names, and having it fetched, once somebody has accepted its licence.

import { Check, Download, TriangleAlert, X } from "lucide-react";
import { useEffect, useState } from "react";

import { complain } from "../app/notices";
import { useAdmin } from "../app/rights";
import { call, onEvent } from "../server/client";
import { useServer } from "../server/store";
import type { Fetch, ModelFetchable } from "../server/types";
import { Dialog } from "../ui/Dialog";
import { size } from "../ui/format";
import css from "./Fetchable.module.css";

const AT_IT = ["queued", "running"];

export function Fetchable({ model }: { model: ModelFetchable }) {
  const admin = useAdmin();
  const fetch = useFetch(model);
  const [asks, setAsks] = useState(false);
  const name = nameOf(model);
  const busy = fetch && AT_IT.includes(fetch.state);
  const stop = () => void call("fetch_model", { id: model.id, stop: true }).catch(complain);
  return (
    <div className={css.fetchable}>
      <span className={css.name} title={name}>{name}</span>
      <span className={css.soft}>{facts(model)}</span>
      {model.there && <span className={css.there}><Check size={14} aria-hidden="true" /> there</span>}
      {!model.there && !busy && model.part_bytes > 0 && <span className={css.soft}>{size(model.part_bytes)} of it are there</span>}
      {!model.there && admin && !busy && (
        <button type="button" onClick={() => setAsks(true)} aria-label={`Fetch ${name}`}>
          <Download size={14} aria-hidden="true" /> {model.part_bytes ? "Go on" : "Fetch"}
        </button>
      )}
      {busy && <Progress fetch={fetch} />}
      {busy && admin && (
        <button type="button" className="quiet" onClick={stop} aria-label={`Stop fetching ${name}`}>
          <X size={14} aria-hidden="true" /> Stop
        </button>
      )}
      {fetch?.state === "failed" && fetch.error && (
        <p className={css.failed} role="status">
          <TriangleAlert size={14} aria-hidden="true" /> {fetch.error.message} {fetch.error.hint}
        </p>
      )}
      {asks && <Question model={model} onClose={() => setAsks(false)} />}
    </div>
  );
}

/** Below a list that a form lets choose from: what is chosen and has to be fetched first, and what else can be. */
export function Offers({ offers, chosen, open }: { offers: ModelFetchable[]; chosen?: ModelFetchable; open: boolean }) {
  const others = offers.filter((model) => model !== chosen);
  return (
    <>
      {chosen && <div className={css.offers}><Fetchable model={chosen} /></div>}
      {others.length > 0 && (
        <details className={css.offers} open={open}>
          <summary>{others.length} {chosen ? "more" : others.length === 1 ? "model" : "models"} to be fetched</summary>
          {others.map((model) => <Fetchable key={`${model.id} ${model.plugin}`} model={model} />)}
        </details>
      )}
    </>
  );
}

/** How far it is, or how it ended: as it is told, until the list is read again. */
function useFetch(model: ModelFetchable): Fetch | null {
  const [told, setTold] = useState<Fetch | null>(null);
  useEffect(() => setTold(null), [model]);
  useEffect(() => onEvent(({ type, data }) => void (type === "fetching" && data.id === model.id && setTold(data as Fetch))), [model.id]);
  return told ?? model.fetch;
}

function Progress({ fetch: { state, phase, done_bytes, total_bytes } }: { fetch: Fetch }) {
  const amount = total_bytes ? `${size(done_bytes)} of ${size(total_bytes)}` : size(done_bytes);
  return (
    <span className={css.progress}>
      <progress max={1} value={total_bytes ? done_bytes / total_bytes : undefined} aria-label={`Progress of ${phase || "the fetch"}`} />
      <span>{state === "queued" ? "waits" : `${phase} ${amount}`}</span>
    </span>
  );
}

function Question({ model, onClose }: { model: ModelFetchable; onClose: () => void }) {
  const title = useServer(({ plugins }) => plugins.find((each) => each.name === model.plugin)?.title ?? model.plugin);
  const start = () => {
    onClose();
    const { id, licence, plugin } = model;
    void call("fetch_model", { id, licence, plugin }).catch(complain);
  };
  const actions = (
    <>
      <button type="button" onClick={onClose}>Not now</button>
      <button type="button" className="primary" onClick={start}>Accept and fetch</button>
    </>
  );
  const rows: [string, string][] = [
    ["Wanted by", title],
    ["Licence", model.licence ?? "the plugin does not tell it"],
    ["Size", model.size_bytes ? size(model.size_bytes) : "not told"],
    ["From", model.url],
    ["sha256", model.sha256 ?? (model.repo ? "it is compared with the hub's" : "not told: nobody can say whether it is the right file")],
  ];
  return (
    <Dialog title={`Fetch ${nameOf(model)}?`} onClose={onClose} actions={actions}>
      <dl className={css.question}>
        {rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
      </dl>
    </Dialog>
  );
}

export const nameOf = ({ id }: ModelFetchable): string => id.slice(id.indexOf("/") + 1);

const facts = ({ size_bytes, licence }: ModelFetchable): string =>
  [size_bytes && size(size_bytes), licence ?? "licence not told"].filter(Boolean).join(" · ");
