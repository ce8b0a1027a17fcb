// The flows in this browser, and the way of a flow from and to a file.

import { Download, FilePlus, Trash2, Upload } from "lucide-react";
import { useRef, useState } from "react";

import { complain, say } from "../../app/notices";
import { Dialog } from "../../ui/Dialog";
import { saveText } from "../../ui/files";
import css from "./Flows.module.css";
import { begin, fileOf, forget, openSaved, rename, useEditor } from "./editor";
import { ServerFlows } from "./ServerFlows";
import { openFile } from "./uploading";

export function Flows({ onClose }: { onClose: () => void }) {
  const saved = useEditor((editor) => editor.saved);
  const shown = useEditor((editor) => editor.name);
  const file = useRef<HTMLInputElement>(null);
  const names = Object.keys(saved).sort((a, b) => a.localeCompare(b));
  const open = (name: string) => {
    try {
      openSaved(name);
      onClose();
    } catch (error) {
      complain(error);
    }
  };
  return (
    <Dialog title="Flows" onClose={onClose}>
      <div className={css.actions}>
        <button type="button" onClick={() => { begin(); onClose(); }}><FilePlus size={16} aria-hidden="true" /> New</button>
        <button type="button" onClick={() => file.current!.click()}><Upload size={16} aria-hidden="true" /> Open a file</button>
        <input
          ref={file} type="file" hidden accept=".json,application/json" aria-label="File of a flow"
          onChange={({ target }) => target.files?.[0] && void openFile(target.files[0]).then((isFlow) => isFlow && onClose())}
        />
        <button type="button" onClick={download}><Download size={16} aria-hidden="true" /> Download this flow</button>
      </div>
      <p className={css.help}>The file also runs without this page: <code>python3 -m clients.cli flow FILE.json</code></p>
      {names.length ? (
        <ul className={css.list}>
          {names.map((name) => <Saved key={name} name={name} isShown={name === shown} onOpen={() => open(name)} />)}
        </ul>
      ) : (
        <p className={css.help}>No flow is saved in this browser yet. Give this one a name, and save it with Ctrl+S.</p>
      )}
      <ServerFlows onClose={onClose} />
    </Dialog>
  );
}

function Saved({ name, isShown, onOpen }: { name: string; isShown: boolean; onOpen: () => void }) {
  const [typed, setTyped] = useState(name);
  const finish = () => {
    const wanted = typed.trim();
    if (!wanted || wanted === name) return setTyped(name);
    if (wanted in useEditor.getState().saved) {
      setTyped(name);
      return complain(new Error(`There is a flow “${wanted}” already.`));
    }
    rename(name, wanted);
  };
  const count = useEditor(({ saved }) => saved[name]?.file.jobs.length);
  return (
    <li aria-current={isShown || undefined}>
      <input
        value={typed} maxLength={100} aria-label={`Name of ${name}`} onBlur={finish}
        onChange={({ target }) => setTyped(target.value)} onKeyDown={({ key }) => key === "Enter" && finish()}
      />
      <small>{count} {count === 1 ? "job" : "jobs"}</small>
      <button type="button" onClick={onOpen} aria-label={`Open ${name}`}>Open</button>
      <button
        type="button" className="quiet" aria-label={`Delete ${name}`} title="Delete"
        onClick={() => confirm(`Delete the flow “${name}” from this browser?`) && (forget(name), say(`Deleted “${name}”.`))}
      >
        <Trash2 size={16} aria-hidden="true" />
      </button>
    </li>
  );
}

function download(): void {
  const state = useEditor.getState();
  const name = state.name.trim().replace(/[/\\:*?"<>|]/g, "_") || "flow";
  saveText(`${JSON.stringify(fileOf(state), null, 2)}\n`, `${name}.json`, "application/json");
}
