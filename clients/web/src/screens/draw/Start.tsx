// Where the Draw screen begins: choose a picture, drop one, paste one, or take one of the latest.

import { ImagePlus } from "lucide-react";
import { useEffect, useRef, useState, type DragEvent } from "react";

import { openPainter } from "../../app/intents";
import { complain } from "../../app/notices";
import { call, client } from "../../server/client";
import type { ArtifactRecord } from "../../server/types";
import { pastedFiles } from "../../ui/files";
import { thumbnailUrl } from "../../ui/pictures";
import css from "./Draw.module.css";

const NEWEST = 36;

/** Stores a file and puts it on the easel. */
async function open(file: File): Promise<void> {
  const { record } = await client.upload(file, { kind: "image", name: file.name });
  openPainter(record as ArtifactRecord);
}

/** Pictures that are dropped or pasted anywhere on the screen. */
export function useArrivals() {
  useEffect(() => {
    const pasted = (event: ClipboardEvent) => {
      const file = pastedFiles(event).find(({ type }) => type.startsWith("image/"));
      if (!file) return;
      event.preventDefault(); // elsewhere in the page a picture restores its form
      open(file).catch(complain);
    };
    document.addEventListener("paste", pasted); // before the page's own, which hears at the window
    return () => document.removeEventListener("paste", pasted);
  }, []);
  return {
    onDragOver: (event: DragEvent) => event.dataTransfer.types.includes("Files") && event.preventDefault(),
    onDrop: (event: DragEvent) => {
      const [file] = event.dataTransfer.files;
      if (!file) return;
      event.preventDefault();
      event.stopPropagation(); // elsewhere in the page a picture restores its form
      open(file).catch(complain);
    },
  };
}

export function Start() {
  const [newest, setNewest] = useState<ArtifactRecord[]>([]);
  const file = useRef<HTMLInputElement>(null);
  useEffect(() => {
    call<{ artifacts: ArtifactRecord[] }>("artifacts", { kind: "image", limit: NEWEST }).then(({ artifacts }) => setNewest(artifacts), complain);
  }, []);
  return (
    <div className={css.start}>
      <div className={css.drop}>
        <ImagePlus size={32} aria-hidden="true" />
        <h1>Change a part of a picture, or make it larger</h1>
        <p>Drop or paste a picture here.</p>
        <button type="button" className="primary" onClick={() => file.current!.click()}>Choose a picture …</button>
        <input ref={file} type="file" accept="image/*" hidden aria-label="Picture to draw on" onChange={({ target }) => target.files?.[0] && open(target.files[0]).catch(complain)} />
      </div>
      {newest.length > 0 && (
        <section aria-label="Latest pictures">
          <h2>Or take one of the latest</h2>
          <ul className={css.latest}>
            {newest.map((each) => (
              <li key={each.id}>
                <button type="button" onClick={() => openPainter(each)} title={each.facts.prompt ?? each.name ?? each.id} aria-label={`Draw on ${each.facts.prompt ?? each.name ?? each.id}`}>
                  <img src={thumbnailUrl(each, 256)} alt="" loading="lazy" />
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}
