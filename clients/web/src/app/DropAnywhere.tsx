// Files dropped or pasted anywhere on the page: their form is opened, else one is asked what is to be done with them.

import { ImageDown } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { navigate } from "wouter/use-hash-location";

import { client } from "../server/client";
import type { ArtifactRecord } from "../server/types";
import { Dialog } from "../ui/Dialog";
import { pastedFiles } from "../ui/files";
import { isPicture, thumbnailUrl } from "../ui/pictures";
import { JobChoice } from "../ui/SendTo";
import css from "./DropAnywhere.module.css";
import { complain, say } from "./notices";
import { restore, upload } from "./restore";

const SHOWN = 6; // of several pictures

export function DropAnywhere() {
  const [over, setOver] = useState(false);
  const [busy, setBusy] = useState("");
  const [uploads, setUploads] = useState<ArtifactRecord[]>([]);
  const receive = async (files: File[]) => {
    if (!client.online) return complain(new Error("Without the connection nothing can be uploaded. Drop it again once it is back."));
    const progress = (done: number) => setBusy(files.length > 1 ? `Uploading ${done + 1} of ${files.length} …` : "Uploading …");
    const artifacts = await upload(files, progress, (text) => say(text, "error"));
    setBusy(artifacts.length === 1 && isPicture(artifacts[0]) ? "Looking how it was made …" : "");
    const done = artifacts.length === 1 && isPicture(artifacts[0]) ? await restore(artifacts[0]) : null;
    setBusy("");
    if (done) say(done);
    else setUploads(artifacts);
  };
  useFiles(setOver, (files) => {
    receive(files).catch((error) => (setBusy(""), complain(error)));
  });
  return (
    <>
      {over && (
        <div className={css.over} aria-hidden="true">
          <div>
            <ImageDown size={40} />
            <b>Drop it anywhere</b>
            <span>A picture that tells how it was made brings its form back. On an input, it becomes that input.</span>
          </div>
        </div>
      )}
      {busy && <p className={css.busy} role="status">{busy}</p>}
      {uploads.length > 0 && <Offer artifacts={uploads} onClose={() => setUploads([])} />}
    </>
  );
}

function Offer({ artifacts, onClose }: { artifacts: ArtifactRecord[]; onClose: () => void }) {
  const single = artifacts.length === 1;
  const pictures = artifacts.filter(isPicture);
  const title = single ? artifacts[0].name || "What shall become of it?" : `${artifacts.length} files`;
  const look = () => {
    onClose();
    if (single) navigate(`/results/${artifacts[0].id}`);
    else import("../screens/results/gallery").then(({ show }) => (show({ origin: "upload" }), navigate("/results")), complain);
  };
  return (
    <Dialog title={title} onClose={onClose} actions={<button type="button" onClick={look}>{single ? "Only look at it" : "Show them in Results"}</button>}>
      <div className={css.pictures}>
        {pictures.slice(0, SHOWN).map((each) => <img key={each.id} src={thumbnailUrl(each, 192)} alt={each.name ?? ""} />)}
        {pictures.length > SHOWN && <span>and {pictures.length - SHOWN} more</span>}
      </div>
      <p>{said(artifacts)}</p>
      <JobChoice artifacts={artifacts} onChosen={onClose} />
    </Dialog>
  );
}

function said(artifacts: ArtifactRecord[]): string {
  if (artifacts.length > 1) return "They are uploaded.";
  return isPicture(artifacts[0]) ? "It does not say how it was made. What shall it be used in?" : "It is uploaded. What shall it be used in?";
}

/** Files that come over the page, or out of the clipboard, and that no field takes for itself. */
function useFiles(onOver: (over: boolean) => void, onFiles: (files: File[]) => void): void {
  const latest = useRef(onFiles);
  latest.current = onFiles;
  useEffect(() => {
    let own = false; // dragged from this page
    let depth = 0;
    const brings = ({ dataTransfer }: DragEvent) => !own && Boolean(dataTransfer?.types.includes("Files"));
    const leave = () => {
      depth = 0;
      onOver(false);
    };
    const listeners: { [Type in keyof WindowEventMap]?: (event: WindowEventMap[Type]) => void } = {
      dragstart: () => void (own = true),
      dragend: () => void (own = false),
      dragenter: (event) => {
        if (!brings(event)) return;
        depth++;
        onOver(true);
      },
      dragleave: (event) => {
        if (brings(event) && --depth <= 0) leave();
      },
      dragover: (event) => {
        if (!brings(event)) return;
        event.preventDefault(); // else the browser opens the file instead of this page
      },
      drop: (event) => {
        if (event.defaultPrevented || !brings(event)) return;
        event.preventDefault();
        const files = [...event.dataTransfer!.files];
        if (files.length) latest.current(files);
        else complain(new Error("That is no file. Drop files, not folders or texts."));
      },
      paste: (event) => {
        const files = pastedFiles(event);
        if (!files.length) return;
        event.preventDefault();
        latest.current(files);
      },
    };
    for (const [type, listener] of Object.entries(listeners)) window.addEventListener(type, listener as EventListener);
    window.addEventListener("drop", leave, true); // a field may take it and tell nobody
    return () => {
      window.removeEventListener("drop", leave, true);
      for (const [type, listener] of Object.entries(listeners)) window.removeEventListener(type, listener as EventListener);
    };
  }, []);
}
