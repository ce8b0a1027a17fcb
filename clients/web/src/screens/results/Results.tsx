// The Results screen: the gallery, and over it one result in full or several side by side, by the address.

import { Images } from "lucide-react";
import { useCallback, useEffect, useState } from "react";
import { useParams } from "wouter";
import { navigate } from "wouter/use-hash-location";

import { sentence } from "../../server/client";
import { useServer } from "../../server/store";
import { Empty } from "../../ui/Empty";
import { Compare } from "./Compare";
import { activate, isNarrowed, readAgain, showEverything, useGallery } from "./gallery";
import { Gallery } from "./Gallery";
import css from "./Results.module.css";
import { Selection } from "./Selection";
import { Toolbar } from "./Toolbar";
import { Viewer } from "./Viewer";

let cameFromHere = false; // then the browser's way back leads to the gallery

export default function Results() {
  const { id: address } = useParams();
  const [closed, setClosed] = useState<string>(); // the browser goes back later, but the next key is the gallery's
  const ids = address === closed ? [] : (address?.split(",").filter(Boolean) ?? []);
  const open = useCallback((id: string) => {
    cameFromHere = true;
    setClosed(undefined);
    navigate(`/results/${id}`);
  }, []);
  const close = useCallback(() => {
    setClosed(address);
    if (cameFromHere) history.back();
    else navigate("/results", { replace: true });
    cameFromHere = false;
  }, [address]);
  useEffect(() => setClosed(undefined), [address]);
  const [first] = ids;
  useEffect(() => {
    if (first) activate(first);
    else cameFromHere = false;
  }, [first]);
  const overlaid = ids.length > 0;
  return (
    <div className={css.screen}>
      <h1 className="hidden-text">Results</h1>
      <div className={css.gallery} data-hidden={overlaid || undefined} inert={overlaid}>
        <Toolbar />
        <Gallery shown={!overlaid} onOpen={open} />
        <Nothing />
        {!overlaid && <Selection onCompare={(several) => open(several.join(","))} />}
      </div>
      {ids.length === 1 && <Viewer id={ids[0]} onClose={close} />}
      {ids.length > 1 && <Compare key={ids.join()} ids={ids.slice(0, 4)} onClose={close} />}
    </div>
  );
}

/** What the gallery says while nothing is in it, or where it could not read on. */
function Nothing() {
  const { artifacts, state, error, filter } = useGallery();
  const online = useServer((server) => server.connection.state === "online");
  if (error) {
    return (
      <div className={css.problem} role="alert">
        <span>{sentence(error)}</span>
        <button type="button" onClick={readAgain}>Try again</button>
      </div>
    );
  }
  if (artifacts.length || state === "more") return null;
  if (state === "reading") return <div className={css.nothing}><Empty title={online ? "Looking …" : "Waits for the connection …"} /></div>;
  return (
    <div className={css.nothing}>
      {isNarrowed(filter) ? (
        <Empty title="Nothing matches">
          <p>No result here is what the filters ask for.</p>
          <button type="button" onClick={showEverything}>Show everything</button>
        </Empty>
      ) : (
        <Empty title="No results yet">
          <p><Images size={40} aria-hidden="true" /></p>
          <p>What you create shows here as soon as it is done, the newest first. You can also drop a picture anywhere on this page.</p>
          <button type="button" className="primary" onClick={() => navigate("/")}>Create something</button>
        </Empty>
      )}
    </div>
  );
}
