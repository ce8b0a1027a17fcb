// Which session results go to: the known ones, a new one, another name for one.

import { Pencil } from "lucide-react";
import { useEffect, useState } from "react";

import { complain } from "../../app/notices";
import { call } from "../../server/client";
import { chooseSession, useServer } from "../../server/store";
import { Dialog } from "../../ui/Dialog";
import css from "./Head.module.css";

interface Session {
  id: string;
  name: string;
}

export function SessionChooser({ onClose }: { onClose: () => void }) {
  const present = useServer(({ session }) => session);
  const [sessions, setSessions] = useState<Session[]>([]);
  const [typed, setTyped] = useState("");
  const [renamed, setRenamed] = useState<Session | null>(null);
  const read = () => call<{ sessions: Session[] }>("sessions", { limit: 200 }).then((answer) => setSessions(answer.sessions), complain);
  useEffect(() => void read(), []);
  const choose = (id: string) => {
    chooseSession(id);
    onClose();
  };
  const save = async () => {
    const name = typed.trim();
    if (!name) return;
    await call("session", renamed ? { id: renamed.id, name } : { id: name });
    if (!renamed) return choose(name);
    setRenamed(null);
    setTyped("");
    await read();
  };
  const known = sessions.some(({ id }) => id === present) ? sessions : [{ id: present, name: present }, ...sessions];
  return (
    <Dialog title="Session" onClose={onClose}>
      <p>A session keeps results together, and remembers what its forms had last.</p>
      <div className={css.list}>
        {known.map((session) => (
          <div key={session.id} className={css.renamed}>
            <button type="button" className={css.entry} aria-current={session.id === present} onClick={() => choose(session.id)}>
              {session.name}
            </button>
            <button
              type="button" className="quiet" aria-label={`Rename ${session.name}`} title="Rename"
              onClick={() => {
                setRenamed(session);
                setTyped(session.name);
              }}
            >
              <Pencil size={14} aria-hidden="true" />
            </button>
          </div>
        ))}
      </div>
      <div className={css.new}>
        <input
          value={typed} aria-label={renamed ? `New name of ${renamed.name}` : "Name of a new session"} placeholder="New session"
          onChange={({ target }) => setTyped(target.value)} maxLength={100}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            void save().catch(complain);
          }}
        />
        <button type="button" className="primary" onClick={() => void save().catch(complain)}>{renamed ? "Rename" : "Begin"}</button>
      </div>
    </Dialog>
  );
}
