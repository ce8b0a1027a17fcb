// How the connection and the server are: silent while all is well, calm when it is not.

import { X } from "lucide-react";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";

import { call, sentence, unlock, useCalls } from "../server/client";
import { beginAnew, type Connection, useServer } from "../server/store";
import type { ErrorBody, LogLine } from "../server/types";
import { useNow } from "../ui/useNow";
import css from "./ConnectionLine.module.css";

const PATIENCE_MS = 1500; // what is over sooner need not be said
const ASK_MS = 2000; // no event tells how far an installation is
const LINES = 20; // among them, one that tells of it

export function ConnectionLine() {
  const connection = useServer((server) => server.connection);
  const { state } = connection;
  return (
    <div className={css.lines}>
      <p className={css.line} role="status" data-state={state} hidden={!said(connection)}>
        {said(connection)}
        {state === "lost" && <Waiting {...connection} />}
      </p>
      {state === "connecting" && <Late text="Connecting to the server …" />}
      {state === "refused" && <Refused error={connection.error} />}
      {state === "online" && <Trouble />}
      {state === "online" && <Installing />}
    </div>
  );
}

function said(connection: Connection): string {
  if (connection.state === "lost") return "The connection to the server is lost. Jobs go on there, and this page catches up.";
  if (connection.state !== "online" || connection.caughtUp === undefined) return "";
  if (connection.resync) return "Connected again. The server has changed meanwhile, so everything was read anew.";
  if (connection.caughtUp === 0) return "Connected again. Nothing was missed.";
  return `Connected again, caught up on ${connection.caughtUp} ${connection.caughtUp === 1 ? "event" : "events"}.`;
}

/** What counts seconds; read aloud would be too much. */
function Waiting({ since, again }: { since: number; again?: number }) {
  const now = useNow();
  const waiting = useCalls((calls) => calls.waiting);
  const seconds = Math.max(0, Math.round(((again ?? now) - (again ? now : since)) / 1000));
  return (
    <>
      <span className={css.soft} aria-hidden="true">
        {again ? `Trying again in ${seconds} s.` : `Trying again, for ${seconds} s now.`}
      </span>
      {waiting > 0 && <span>{waiting === 1 ? "One change waits" : `${waiting} changes wait`} and will be sent then.</span>}
    </>
  );
}

/** Said when it takes longer than usual. */
function Late({ text, children }: { text: string; children?: ReactNode }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return late ? <p className={css.line} role="status">{text}{children}</p> : null;
}

function Refused({ error }: { error: ErrorBody }) {
  if (error.code === "unauthorized") return <Locked />;
  return (
    <p className={css.line} data-state="refused" role="alert">
      {sentence(error)}
      <button type="button" onClick={() => beginAnew()}>Try again</button>
    </p>
  );
}

/** The server has another token than this browser knows. */
function Locked() {
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const opened = await unlock(token.trim()).catch(() => false);
    if (opened) beginAnew();
    setWrong(!opened);
  };
  return (
    <form className={css.line} data-state="refused" onSubmit={submit} aria-label="Unlock">
      <p role="alert">
        The server has a new token, so this browser may not use it any more. Open the address that it printed when it
        started, or paste the token here. What you have typed stays.
      </p>
      <input
        type="password" autoComplete="off" required aria-label="Token" placeholder="Token" value={token}
        onChange={({ target }) => setToken(target.value)} aria-invalid={wrong} aria-describedby="wrong-token"
      />
      <button type="submit" className="primary">Unlock</button>
      {wrong && <p className="error" id="wrong-token" role="alert">That token was not right. Copy it again, without spaces.</p>}
    </form>
  );
}

/** What keeps the server from doing what it is asked: a full disk, a full queue. Goes when it does something again. */
function Trouble() {
  const trouble = useCalls((calls) => calls.trouble);
  const problem = useServer(({ queue }) => queue.problem); // goes by itself
  if (problem) return <p className={css.line} data-state="trouble" role="alert">{sentence(problem)}</p>;
  if (!trouble) return null;
  return (
    <p className={css.line} data-state="trouble" role="alert">
      {sentence(trouble)}
      <button type="button" className="quiet" onClick={() => useCalls.setState({ trouble: null })} aria-label="Dismiss">
        <X size={16} aria-hidden="true" />
      </button>
    </p>
  );
}

function Installing() {
  const plugins = useServer((server) => server.plugins);
  const installed = plugins.filter(({ status }) => status === "installing");
  const names = installed.map(({ name, title }) => title ?? name);
  if (!names.length) return null;
  const [whose, are] = names.length === 1 ? ["Its", "it is"] : ["Their", "they are"];
  return (
    <Late key={names.join()} text={`Being installed: ${names.join(", ")}. ${whose} jobs appear as soon as ${are} ready.`}>
      <HowFar plugins={installed.map(({ name }) => name).join()} />
    </Late>
  );
}

/** What the server said last of an installation: gigabytes take minutes. Read aloud would be too much. */
function HowFar({ plugins }: { plugins: string }) {
  const [text, setText] = useState("");
  useEffect(() => {
    const ask = async () => {
      const { lines } = await call<{ lines: LogLine[] }>("logs", { limit: LINES });
      const said = lines.findLast(({ job, name = "" }) => !job && plugins.split(",").includes(name))?.text.trim() ?? "";
      setText(said === "installing" ? "" : said); // is what the line begins with
    };
    const askAgain = () => void ask().catch(() => undefined); // who may not read the log is told no more
    askAgain();
    const timer = setInterval(askAgain, ASK_MS);
    return () => clearInterval(timer);
  }, [plugins]);
  return <span className={css.soft} aria-hidden="true">{text}</span>;
}
